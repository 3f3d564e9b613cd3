"""The same weights find the same things, and get the same mAP, as in Ultralytics."""

import pytest
import ultralytics

from keras_actnas.integrations import Detector, Suppression, evaluate_detection, read_dataset, read_photograph

PHOTOS = sorted(ultralytics.utils.ASSETS.glob("*.jpg"))
IDS = [photo.stem for photo in PHOTOS]
SIZE = 320


@pytest.mark.parametrize("photo", PHOTOS, ids=IDS)
@pytest.mark.parametrize("kind", ["keras", "tflite", "decoded"])
def test_predictions(yolo, make_model, model, tflite, photo, kind, assert_same):
    network = {"keras": model, "tflite": tflite}.get(kind) or make_model(decode=True)
    expected = yolo.predict(photo, imgsz=SIZE, rect=False, verbose=False)[0].boxes
    assert 20 < len(expected) < 300  # Enough that they tell something, and no limit cuts them.
    assert_same(Detector(network)(read_photograph(photo)), expected)


@pytest.mark.parametrize("photo", PHOTOS, ids=IDS)
def test_predictions_of_a_rectangle(yolo, make_model, photo, assert_same):
    """Ultralytics takes the smallest rectangle that holds a photograph; a model can have that as its input."""
    image = read_photograph(photo)
    sides = [-(-round(side * SIZE / max(image.shape)) // 32) * 32 for side in image.shape[:2]]
    expected = yolo.predict(photo, imgsz=SIZE, verbose=False)[0].boxes
    assert len(expected) > 20
    assert_same(Detector(make_model(*sides))(image), expected)


def test_other_thresholds(yolo, model, assert_same):
    expected = yolo.predict(PHOTOS[0], imgsz=SIZE, rect=False, conf=0.6, iou=0.3, max_det=9, verbose=False)[0].boxes
    assert len(expected) == 9
    assert_same(Detector(model, suppression=Suppression(0.6, 0.3, 9))(read_photograph(PHOTOS[0])), expected)


def test_map(yolo, model, photo_data, tmp_path):
    """With random weights, boxes of the same thing must be few: pycocotools gives a truth to the surest box that

    overlaps it enough, Ultralytics to the one that overlaps it most.
    """
    settings = {"imgsz": SIZE, "rect": False, "batch": 1, "workers": 0, "plots": False, "verbose": False}
    expected = yolo.val(data=photo_data, project=tmp_path, iou=0.2, conf=0.1, **settings).box
    metrics = evaluate_detection(
        model, read_dataset(photo_data), Suppression(confidence=0.1, iou=0.2, multi_label=True)
    )
    print(f"mAP50 {metrics.map50:.4f}, {expected.map50:.4f}; mAP50-95 {metrics.map50_95:.4f}, {expected.map:.4f}")
    assert 0.1 < expected.map50 < 0.9
    assert metrics.map50 == pytest.approx(expected.map50, abs=0.01)
    assert metrics.map50_95 == pytest.approx(expected.map, abs=0.01)
