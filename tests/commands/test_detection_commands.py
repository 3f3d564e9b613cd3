"""`keras-actnas predict` and `val`."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from PIL import Image

from keras_actnas import cli
from keras_actnas.export import to_tflite
from keras_actnas.integrations import Detector, read_photograph

ROOT = Path(cli.__file__).parents[1]
NAMES = ["cat", "dog", "owl"]


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """The .keras file of a network that finds three classes of things, without training, on 64 x 96 pixels."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input(batch_shape=(1, 64, 96, 3), name="images")
    initializer = keras.initializers.RandomNormal(stddev=3)
    maps = [
        keras.layers.Conv2D(67, 1, kernel_initializer=initializer)(keras.layers.AveragePooling2D(stride)(inputs))
        for stride in (8, 16, 32)
    ]
    path = tmp_path_factory.mktemp("models") / "small.keras"
    keras.Model(inputs, maps, name="small").save(path)
    return path


@pytest.fixture(scope="module")
def detector_tflite(detector):
    path = detector.with_suffix(".tflite")
    to_tflite(keras.models.load_model(detector), path)
    return path


@pytest.fixture
def data(photos, tmp_path):
    """A data.yaml of the photographs, each with one object as large as it."""
    for photo in photos.iterdir():
        photo.with_suffix(".txt").write_text("1 0.5 0.5 1 1\n", encoding="utf-8")
    path = tmp_path / "data.yaml"
    path.write_text(f"val: photos\nnames: {NAMES}\n", encoding="utf-8")
    return path


def run(*arguments):
    assert cli.main([str(argument) for argument in arguments]) == 0


@pytest.mark.parametrize("kind", ["keras", "tflite"])
def test_predict(request, detector, photos, data, tmp_path, capsys, kind):
    model = detector if kind == "keras" else request.getfixturevalue("detector_tflite")
    out = tmp_path / "out/found"
    run("predict", photos, f"--model={model}", f"--data={data}", f"--out={out}", "--confidence=0.3")
    found = {
        path: Detector(str(model) if kind == "tflite" else keras.models.load_model(model))(read_photograph(path))
        for path in sorted(photos.glob("*.png"))
    }
    rows = json.loads((out / "detections.json").read_text())
    sure = [score for one in found.values() for score in one.scores if score > 0.3]
    assert [row["score"] for row in rows] == pytest.approx(sure)
    assert f"{len(rows)} detections on 3 images; drawn in {out}" in capsys.readouterr().out
    first = rows[0]
    assert first["image"] == str(photos / "0.png") and first["name"] == NAMES[first["class"]]
    box = next(iter(found.values())).boxes[0]
    assert [first[side] for side in ("left", "top", "right", "bottom")] == pytest.approx(box.tolist())
    table = list(csv.DictReader((out / "detections.csv").read_text(encoding="utf-8").splitlines()))
    assert [{key: str(value) for key, value in row.items()} for row in rows] == table
    for photo in found:
        drawn = read_photograph(out / photo.name)
        assert drawn.shape == (48, 64, 3) and (drawn != read_photograph(photo)).any()


def test_predict_needs_no_framework_for_a_tflite(detector_tflite, photos, tmp_path):
    """What is not imported need not be installed on a board."""
    heavy = ("keras", "tensorflow", "torch", "torchvision", "ultralytics", "jax", "scipy", "matplotlib", "pulp")
    code = (
        "import sys; from keras_actnas import cli; "
        f"assert cli.main(['predict', {str(photos)!r}, '--model={detector_tflite}', '--out={tmp_path}/out']) == 0; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "[]"


def test_predict_draws_other_formats_as_png(detector_tflite, tmp_path):
    for name in ("a.bmp", "b.JPG"):
        Image.new("RGB", (40, 30), (200, 30, 90)).save(tmp_path / name)
    run("predict", tmp_path / "a.bmp", tmp_path / "b.JPG", f"--model={detector_tflite}", f"--out={tmp_path}/out")
    assert (tmp_path / "out/a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out/b.JPG").read_bytes().startswith(b"\xff\xd8")


def test_predict_overwrites_when_told(detector_tflite, photos, tmp_path, refuses):
    command = ("predict", photos / "0.png", f"--model={detector_tflite}", f"--out={tmp_path}/out")
    run(*command)
    assert "0.png, which exists; give --overwrite" in refuses(*command)
    run(*command, "--overwrite")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "Expected images or folders of images"),
        (("nowhere.jpg",), "Received: nowhere.jpg, which does not exist"),
        (("photos",), "Expected --model"),
        (("photos", "--model=nowhere.tflite"), "nowhere.tflite (No such file"),
        (("photos", "--model=nowhere.keras"), "nowhere.keras, which does not exist"),
        (("photos", "--model={model}", "--data=nowhere.yaml"), "Expected --data to be a data.yaml. Received: nowhere"),
        (
            ("photos", "--model={model}", "--data=two.yaml"),
            "names for the 3 classes that {model} tells apart. Received: 2",
        ),
        (("photos", "--model={model}", "--confidence=2"), "--confidence from 0 to 1. Received: 2.0"),
        (("photos", "--model={model}", "--max_detections=0"), "--max_detections of at least 1. Received: 0"),
        (("photos", "--model={model}", "--out=photos"), "--out to be another folder than the images'"),
        (("photos", "--model={model}", "--out=two.yaml"), "--out to be a folder. Received: two.yaml"),
        (("photos", "photos/0.png", "--model={model}"), "images of different names. Received: two"),
        (("photos", "--model={model}", "--num_threads=0"), "--num_threads"),
    ],
)
def test_predict_refuses(refuses, detector_tflite, photos, tmp_path, flags, message):
    (tmp_path / "two.yaml").write_text("names: [cat, dog]\n")
    assert message.format(model=detector_tflite) in refuses(
        "predict", *(flag.format(model=detector_tflite) for flag in flags)
    )
    assert not list(tmp_path.rglob("detections.*"))


def test_val(detector_tflite, data, tmp_path, capsys):
    run("val", f"--model={detector_tflite}", f"--data={data}", f"--out={tmp_path}/map.json")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["class", "objects", "mAP50", "mAP50-95"]
    assert [line.split()[:2] for line in lines[1:3]] == [["all", "3"], ["dog", "3"]]
    assert lines[3] == f"3 images of {data}, val; {detector_tflite}"
    written = json.loads((tmp_path / "map.json").read_text())
    assert written["images"] == 3 and written["classes"]["dog"]["objects"] == 3
    assert f"{written['map50']:.4f}" == lines[1].split()[2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--model={model}",), "Expected --data=data.yaml. Received: None"),
        (("--model={model}", "--data=nowhere.yaml"), "Received: nowhere.yaml (No such file"),
        (
            ("--model={model}", "--data=lost.yaml"),
            "`path:` in lost.yaml to lead to the dataset. Received: 'nowhere'; tried",
        ),
        (("--model={model}", "--data=two.yaml"), "names for the 3 classes that {model} tells apart. Received: 2 names"),
        (("--model={model}", "--data={data}", "--split=test"), "`test:` in"),
        (("--model={model}", "--data={data}", "--out={data}"), "which exists; give --overwrite"),
        (("--data={data}",), "Expected --model"),
        (("photos", "--model={model}", "--data={data}"), "Received: 'photos'"),
    ],
)
def test_val_refuses(refuses, detector_tflite, data, tmp_path, flags, message):
    (tmp_path / "two.yaml").write_text("val: photos\nnames: [cat, dog]\n")
    (tmp_path / "lost.yaml").write_text("path: nowhere\nval: photos\nnames: [cat, dog, owl]\n")
    places = {"model": detector_tflite, "data": data}
    assert message.format(**places) in refuses("val", *(flag.format(**places) for flag in flags))
