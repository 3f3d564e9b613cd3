"""A truncated .tflite is refused before a runtime, which it may crash, sees it."""

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.export.schema import read_model
from keras_actnas.tflite_bench import Runtime, TFLiteRunner, load_runtime
from keras_actnas.tflite_bench.flatbuffer import check_whole

pytest.importorskip("tensorflow")
L = keras.layers


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A network with many kinds of operators' options, as the converter writes it."""
    from keras_actnas.export import to_tflite

    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, activation="silu")(inputs)
    x = L.Concatenate()([L.MaxPooling2D(2)(x), L.AveragePooling2D(2)(x)])
    x = L.Conv2DTranspose(4, 3, activation="leaky_relu")(L.Resizing(6, 6, "nearest")(x))
    x = keras.ops.transpose(L.Reshape((16, 16))(x), (0, 2, 1))
    folder = tmp_path_factory.mktemp("converted")
    images = np.random.default_rng(0).random((4, 8, 8, 3))
    contents = []
    for precision in ("float32", "int8"):
        to_tflite(keras.Model(inputs, L.Softmax()(x)), folder / "m.tflite", precision, images)
        contents.append((folder / "m.tflite").read_bytes())
    return contents


def test_whole_files_pass(converted, network):
    for data in [*converted, network(), network(("LOG", "RELU", "GELU"))]:
        check_whole(data)
        check_whole(data + b"more")
        assert read_model(data).subgraphs


def test_truncated_content_is_refused_at_every_length(converted, network):
    for data in [*converted, network()]:
        for length in range(len(data)):
            with pytest.raises(ValueError, match=f"truncated or damaged, {length} bytes are left of it"):
                check_whole(data[:length])


def test_the_reader_refuses_it_at_every_length_too(converted, network):
    for data in [*converted, network()]:
        for length in [*range(0, len(data), 7), *range(len(data) - 300, len(data))]:
            with pytest.raises(InputError, match="Expected a (whole )?.tflite file.*Received: the given bytes"):
                read_model(data[:length])


def with_text_at_the_end(data, text):
    """Returns a file whose description is the last thing in it, where another writer may put it."""
    end = len(data) + -len(data) % 4
    table = int.from_bytes(data[:4], "little")
    layout = table - int.from_bytes(data[table : table + 4], "little", signed=True)
    field = table + int.from_bytes(data[layout + 10 : layout + 12], "little")
    moved = data[:field] + (end - field).to_bytes(4, "little") + data[field + 4 :]
    return moved.ljust(end, b"\0") + len(text).to_bytes(4, "little") + text


def test_texts_count_as_well(converted, network):
    for data in [*converted, network()]:
        moved = with_text_at_the_end(data, b"the description")
        check_whole(moved)
        assert read_model(moved).description == b"the description"
        for missing in (1, 5, 15, 16):
            with pytest.raises(ValueError, match="truncated"):
                check_whole(moved[:-missing])
            with pytest.raises(InputError, match="Expected a whole .tflite file"):
                read_model(moved[:-missing])


def test_no_runtime_gets_to_see_it(converted):
    def interpreter(**_):
        raise AssertionError("a truncated file was opened")

    runtime = Runtime("ai_edge_litert", "0", interpreter, None)
    data = converted[0]
    for length in range(8, len(data), 53):
        with pytest.raises(InputError, match="Expected a whole .tflite file. Received: the given bytes, truncated"):
            TFLiteRunner(data[:length], runtime=runtime)


def test_offsets_that_point_nowhere_are_refused(converted):
    data = bytearray(converted[0])
    data[:4] = (2**31).to_bytes(4, "little")
    with pytest.raises(ValueError, match="truncated or damaged"):
        check_whole(bytes(data))


@pytest.mark.parametrize("name", ["ai_edge_litert", "tf.lite"])
def test_the_whole_file_runs(name, converted):
    module = {"ai_edge_litert": "ai_edge_litert", "tf.lite": "tensorflow"}[name]
    pytest.importorskip(module)
    runner = TFLiteRunner(converted[0], runtime=load_runtime(name))
    runner.warm_up(1)
    assert runner.outputs()[0].shape == (1, 16, 16)
