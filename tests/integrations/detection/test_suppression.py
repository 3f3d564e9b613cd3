"""The boxes that stay are those that Ultralytics keeps."""

import numpy as np
import pytest
import torch
from ultralytics.utils.nms import non_max_suppression

from keras_actnas.core import InputError
from keras_actnas.integrations import Suppression


def boxes_and_probabilities(seed, count=300, classes=4):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 200, (count, 2)), rng.uniform(20, 120, (count, 2))
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    return boxes, (rng.random((count, classes)) ** 3).astype(np.float32)


def by_ultralytics(boxes, probabilities, settings):
    boxes = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
    prediction = torch.from_numpy(np.concatenate([boxes, probabilities], axis=1).T[None].copy())
    kept = non_max_suppression(
        prediction, settings.confidence, settings.iou, multi_label=settings.multi_label,
        max_det=settings.max_detections,
    )  # fmt: skip
    return kept[0].numpy()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "settings",
    [
        Suppression(),
        Suppression(0.5, 0.3),
        Suppression(0.1, 0.5, 25),
        Suppression(0.001, 0.7, multi_label=True),
        Suppression(0.4, 0.45, 1000, multi_label=True),
    ],
)
def test_as_in_ultralytics(seed, settings):
    boxes, probabilities = boxes_and_probabilities(seed)
    found = settings(boxes, probabilities)
    expected = by_ultralytics(boxes, probabilities, settings)
    assert 10 < len(found) < 1000
    np.testing.assert_allclose(found.boxes, expected[:, :4], atol=1e-3)
    np.testing.assert_array_equal(found.scores, expected[:, 4])
    np.testing.assert_array_equal(found.classes, expected[:, 5])


@pytest.mark.parametrize("multi_label", [False, True])
def test_nothing_is_found(multi_label):
    found = Suppression(multi_label=multi_label)(np.zeros((9, 4), np.float32), np.full((9, 3), 0.25, np.float32))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4) and found.classes.shape == found.scores.shape == (0,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"confidence": 1.1}, "--confidence from 0 to 1. Received: 1.1"),
        ({"confidence": float("nan")}, "--confidence from 0 to 1. Received: nan"),
        ({"iou": -0.1}, "--iou from 0 to 1. Received: -0.1"),
        ({"max_detections": 0}, "--max_detections of at least 1. Received: 0"),
        ({"max_detections": 1.5}, "--max_detections of at least 1. Received: 1.5"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(InputError, match=message):
        Suppression(**settings)


def test_the_surest_boxes_are_compared(monkeypatch):
    """Ultralytics compares 30,000 at most; fewer here."""
    monkeypatch.setattr("keras_actnas.integrations.detection.suppression._MOST_BOXES", 5)
    boxes, probabilities = boxes_and_probabilities(0)
    found = Suppression(iou=1.0)(boxes, probabilities)
    np.testing.assert_array_equal(found.scores, np.sort(probabilities.max(axis=1))[::-1][:5])
