"""Reading .tflite files: what is not one is refused in one line."""

import subprocess
import sys

import pytest

from keras_actnas.core import InputError
from keras_actnas.export import TFLiteNetwork
from keras_actnas.export.schema import operator_name, pack_model, read_model, schema

pytest.importorskip("tensorflow")


def test_what_is_packed_is_read_back(editable):
    assert pack_model(read_model(editable)) == pack_model(read_model(pack_model(read_model(editable))))


def test_files(editable, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(editable)
    for source in (path, str(path), editable):
        model = read_model(source)
        assert operator_name(model, model.subgraphs[0].operators[0]) == "CONV_2D"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "identifier TFL3.*0 bytes of something else"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "108 bytes of something else"),
        (b"\x08\x00\x00\x00TFL3", "Expected a whole .tflite file.*truncated or damaged"),
    ],
)
@pytest.mark.parametrize("reader", [read_model, TFLiteNetwork])
def test_files_that_are_no_tflite(reader, content, message, tmp_path):
    (tmp_path / "bad.tflite").write_bytes(content)
    with pytest.raises(InputError, match=message) as info:
        reader(tmp_path / "bad.tflite")
    assert str(tmp_path / "bad.tflite") in str(info.value) and "\n" not in str(info.value)
    with pytest.raises(InputError, match="Received: the given bytes"):
        reader(content)


@pytest.mark.parametrize("reader", [read_model, TFLiteNetwork])
def test_missing_files_and_folders(reader, tmp_path):
    with pytest.raises(InputError, match="Expected a .tflite file. Received: .*none.tflite .No such file"):
        reader(tmp_path / "none.tflite")
    with pytest.raises(InputError, match="Expected a .tflite file. Received: .*Is a directory"):
        reader(tmp_path)


@pytest.mark.parametrize("reader", [read_model, TFLiteNetwork])
def test_truncated_files(reader, editable):
    # The last bytes are a text; the others are checked in steps, since reading takes a while.
    for length in [*range(0, len(editable), len(editable) // 97), *range(len(editable) - 40, len(editable))]:
        with pytest.raises(InputError, match="Expected a .*.tflite file"):
            reader(editable[:length])


def test_a_file_without_a_graph():
    model = schema().ModelT()
    with pytest.raises(
        InputError, match="Expected a .tflite file with a graph. Received: the given bytes, without one"
    ):
        model.subgraphs, model.buffers, model.operatorCodes = [], [], []
        read_model(pack_model(model))


def test_an_operator_that_is_newer_than_the_schema(editable):
    model = read_model(editable)
    model.operatorCodes[0].builtinCode = 5000
    assert operator_name(model, model.subgraphs[0].operators[0]) == "BUILTIN_5000"


def test_without_a_schema(editable):
    code = (
        "import sys; sys.modules['ai_edge_litert'] = sys.modules['tensorflow'] = None\n"
        "from keras_actnas.export.schema import read_model\n"
        "try:\n    read_model(b'\\x08\\x00\\x00\\x00TFL3' + bytes(40))\n"
        "except ImportError as error:\n    print(error)\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == (
        "Reading .tflite files needs `ai-edge-litert`, which is not installed. "
        'Install it with: pip install "keras-actnas[bench]"'
    )


def test_the_schema_that_tensorflow_ships_serves_too(editable):
    code = (
        "import sys; sys.modules['ai_edge_litert'] = None\n"
        "from keras_actnas.export import TFLiteNetwork\n"
        "data = TFLiteNetwork(sys.stdin.buffer.read()).edit({'dense': 'gelu'})\n"
        "sys.stdout.buffer.write(data)\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], input=editable, capture_output=True, check=True)
    assert finished.stdout == TFLiteNetwork(editable).edit({"dense": "gelu"})
