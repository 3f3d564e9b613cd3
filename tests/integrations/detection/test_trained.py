"""A detector that Ultralytics trained finds the same, and is as good, in Keras, .tflite and int8."""

import numpy as np
import pytest
import ultralytics
from PIL import Image, ImageDraw

from keras_actnas.export import to_tflite
from keras_actnas.integrations import Detector, evaluate_detection, from_ultralytics, read_dataset, read_photograph

pytestmark = pytest.mark.slow

COLOURS = ((230, 40, 40), (40, 60, 230), (240, 220, 60))
WIDTH, HEIGHT, SIZE = 160, 120, 128


def draw_set(folder, train=96, val=24):
    """Writes a dataset of rectangles in the colours of their classes; returns its data.yaml."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            image = Image.fromarray(rng.integers(0, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8))
            rows = []
            for _ in range(rng.integers(1, 4)):
                kind, (width, height) = int(rng.integers(len(COLOURS))), rng.integers(24, 60, 2)
                left, top = rng.integers(0, WIDTH - width), rng.integers(0, HEIGHT - height)
                ImageDraw.Draw(image).rectangle([left, top, left + width - 1, top + height - 1], fill=COLOURS[kind])
                box = ((left + width / 2) / WIDTH, (top + height / 2) / HEIGHT, width / WIDTH, height / HEIGHT)
                rows.append(" ".join([str(kind), *(f"{value:.6f}" for value in box)]))
            image.save(folder / "images" / split / f"{number:03}.png")
            (folder / "labels" / split / f"{number:03}.txt").write_text("\n".join(rows) + "\n")
    path = folder / "data.yaml"
    path.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames: [red, blue, yellow]\n")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw_set(tmp_path_factory.mktemp("rectangles"))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    yolo = ultralytics.YOLO("yolov5n.yaml")
    settings = {"imgsz": SIZE, "batch": 8, "workers": 0, "plots": False, "amp": False, "verbose": False, "val": False}
    project = tmp_path_factory.mktemp("runs")
    yolo.train(data=data, epochs=25, seed=0, mosaic=0, project=project, warmup_epochs=1, **settings)
    return ultralytics.YOLO(next(project.rglob("last.pt")))


@pytest.fixture(scope="module")
def model(trained):
    return from_ultralytics(trained, (SIZE, SIZE, 3), batch_size=1)


@pytest.fixture(scope="module")
def expected(trained, data, tmp_path_factory):
    """What Ultralytics says of it."""
    settings = {"imgsz": SIZE, "rect": False, "batch": 1, "workers": 0, "plots": False, "verbose": False}
    return trained.val(data=data, project=tmp_path_factory.mktemp("val"), **settings).box


def test_predictions(trained, model, data, assert_same):
    detector, images = Detector(model), list(read_dataset(data).truths)
    total = 0
    for image in images:
        boxes = trained.predict(image, imgsz=SIZE, rect=False, verbose=False)[0].boxes
        assert_same(detector(read_photograph(image)), boxes)
        total += len(boxes)
    print(f"{total} detections on {len(images)} images")
    assert total > len(images)


def test_map(model, data, expected):
    metrics = evaluate_detection(model, read_dataset(data))
    print(f"mAP50 {metrics.map50:.4f}, {expected.map50:.4f}; mAP50-95 {metrics.map50_95:.4f}, {expected.map:.4f}")
    assert expected.map50 > 0.5
    assert metrics.map50 == pytest.approx(expected.map50, abs=0.01)
    assert metrics.map50_95 == pytest.approx(expected.map, abs=0.01)


@pytest.mark.parametrize(("precision", "loss"), [("float32", 0.001), ("int8", 0.05)])
def test_map_of_a_tflite(model, data, tmp_path, precision, loss):
    dataset = read_dataset(data)
    images = np.stack([Image.open(path).resize((SIZE, SIZE)) for path in list(dataset.truths)[:16]]) / np.float32(255)
    to_tflite(model, tmp_path / "net.tflite", precision, images if precision == "int8" else None)
    of_model, of_file = (evaluate_detection(one, dataset) for one in (model, tmp_path / "net.tflite"))
    print(f"{precision}: mAP50-95 {of_file.map50_95:.4f}, of the model {of_model.map50_95:.4f}")
    assert of_file.map50_95 == pytest.approx(of_model.map50_95, abs=loss)
