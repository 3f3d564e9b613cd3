"""The networks are Ultralytics', by names, shapes and numbers."""

import hashlib
import json

import keras
import numpy as np
import pytest

from keras_actnas.core import site_name
from keras_actnas.models import YOLO, YOLO_NAMES

PUBLISHED = {
    "yolov5n": (2_654_816, 69),
    "yolov5s": (9_153_152, 69),
    "yolov5m": (25_111_456, 91),
    "yolov5l": (53_225_024, 113),
    "yolov5x": (97_276_448, 135),
    "yolov8n": (3_157_200, 57),
    "yolov8s": (11_166_560, 57),
    "yolov8m": (25_902_640, 77),
    "yolov8l": (43_691_520, 97),
    "yolov8x": (68_229_648, 97),
    "yolo11n": (2_624_080, 77),
    "yolo11s": (9_458_752, 77),
    "yolo11m": (20_114_688, 102),
}


def sites_of(model):
    return [site_name(layer.name) for layer in model.layers if isinstance(layer, keras.layers.Activation)]


def parameters_of(model):
    return sum(int(np.prod(weight.shape)) for weight in model.weights if not weight.name.startswith("moving_"))


def digest(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def test_every_name_is_checked():
    assert tuple(PUBLISHED) == YOLO_NAMES


@pytest.mark.parametrize("name", YOLO_NAMES)
def test_names_and_shapes(name, golden, torch_weights):
    keras.backend.clear_session()
    model = YOLO(name, input_shape=(64, 64, 3), decode=True)
    sites = sites_of(model)
    shapes = {key: [variable.shape[axis] for axis in axes] for key, (variable, axes) in torch_weights(model).items()}
    assert (parameters_of(model), len(sites)) == PUBLISHED[name]
    assert (parameters_of(model), len(sites)) == (golden[name]["parameters"], golden[name]["activations"])
    assert digest(sorted(sites)) == golden[name]["sites_digest"]
    assert digest(sorted([key, shape] for key, shape in shapes.items())) == golden[name]["weights_digest"]
    assert all(layer.name.startswith("model-") for layer in model.layers if layer.weights)


@pytest.mark.parametrize("name", ["yolov5n", "yolov8n", "yolo11n"])
def test_sites_and_raw_parameters_of_the_small_networks(name, golden):
    model = YOLO(name, input_shape=(64, 64, 3))
    assert sorted(sites_of(model)) == sorted(golden[name]["sites"])
    assert parameters_of(model) == golden[name]["parameters"] - 16


@pytest.mark.parametrize("name", ["yolov5n", "yolov8n", "yolo11n", "yolo11m"])
def test_outputs_are_those_of_ultralytics(name, golden, fill, images):
    expected = golden[name]["samples"]
    maps = fill(YOLO(name, input_shape=(64, 96, 3)))(images(64, 96))
    for values, samples in zip(maps, expected["maps"], strict=True):
        values = np.ravel(values)
        np.testing.assert_allclose(values[:: values.size // 12][:12], samples, rtol=1e-4, atol=1e-3)
    decoded = np.asarray(fill(YOLO(name, input_shape=(64, 96, 3), decode=True))(images(64, 96)))[0]
    boxes, probabilities = decoded[:, :4].ravel(), decoded[:, 4:].ravel()
    np.testing.assert_allclose(boxes[:: boxes.size // 24][:24], expected["boxes"], rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(
        probabilities[:: probabilities.size // 24][:24], expected["probabilities"], rtol=1e-3, atol=1e-4
    )
