"""A detector takes any network of this kind, float or int8, and says what it cannot take."""

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.integrations import Detector, Suppression

ALL = Suppression(confidence=0.3)


@pytest.fixture(scope="module")
def image():
    """Wide, so that it has borders above and below; smooth, as photographs are."""
    y, x = np.mgrid[0:50, 0:120]
    return np.stack([x * 2, y * 5, (x + y) % 256], axis=-1).astype(np.uint8)


def test_a_tflite_finds_what_the_model_finds(small, small_tflite, image):
    expected, found = Detector(small, suppression=ALL)(image), Detector(small_tflite, suppression=ALL)(image)
    # Scores of int8 are steps of about 0.01, by which an overlapping box may be the surer one.
    coarse = "int8" in small_tflite.name
    assert len(expected) > 10
    assert abs(len(found) - len(expected)) <= (4 if coarse else 0)
    best = [
        min(np.abs(found.boxes[index] - box).max() + 99 * (found.classes[index] != kind) for index in range(len(found)))
        for box, kind in zip(expected.boxes, expected.classes, strict=True)
    ]
    assert np.quantile(best, 0.8) < (4 if coarse else 0.01)
    assert np.abs(found.scores[:5] - expected.scores[:5]).max() < (0.03 if coarse else 1e-4)


def test_boxes_stay_inside_the_image(small, image):
    found = Detector(small, suppression=ALL)(image)
    assert found.boxes.min() >= 0
    assert found.boxes[:, 2].max() <= 120 and found.boxes[:, 3].max() <= 50
    assert (np.diff(found.scores) <= 0).all()


def test_white_may_be_another_value(small, image):
    """A network whose first layer scales pixels itself."""
    inputs = keras.Input(batch_shape=(1, 64, 96, 3))
    scaled = keras.Model(inputs, small(keras.layers.Rescaling(1 / 255)(inputs)))
    expected = Detector(small, suppression=ALL)(image)
    found = Detector(scaled, suppression=ALL, pixel_max=255)(image)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)


def test_names(small):
    assert Detector(small).names == ("0", "1", "2")
    assert Detector(small, ["a", "b", "c"]).names == ("a", "b", "c")
    with pytest.raises(InputError, match="names for the 3 classes that the model 'small' tells apart. Received: 2 na"):
        Detector(small, ["a", "b"])


@pytest.mark.parametrize(
    "array",
    [np.zeros((9, 9)), np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((0, 9, 3), np.uint8)],
)
def test_what_is_no_image(small, array):
    with pytest.raises(InputError, match="Expected an image as uint8 of shape"):
        Detector(small)(array)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([(1, 64, 96, 1)], r"one colour image of fixed size.*shape \(1, 64, 96, 1\)"),
        ([(1, None, None, 3)], "one colour image of fixed size"),
        ([(4, 64, 96, 3)], "one colour image of fixed size"),
        ([(1, 8)], "one colour image of fixed size"),
        ([(1, 64, 96, 3), (1, 2)], "one input, the image. Received: the model 'other' with 2"),
        ([(1, 64, 96, 3)], "Expected a YOLO with the output of"),
    ],
)
def test_networks_of_another_kind(inputs, message):
    tensors = [keras.Input(batch_shape=shape) for shape in inputs]
    model = keras.Model(tensors, keras.layers.Activation("relu")(tensors[0]), name="other")
    with pytest.raises(InputError, match=message):
        Detector(model)


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(InputError, match="Expected a .tflite file. Received: nowhere.tflite"):
        Detector("nowhere.tflite")
    (tmp_path / "text.tflite").write_text("some text")
    with pytest.raises(InputError, match="text.tflite, which is something else"):
        Detector(tmp_path / "text.tflite")


def test_outputs_that_are_not_finite(small, image):
    broken = keras.models.clone_model(small)
    broken.set_weights([np.full_like(value, np.nan) for value in small.get_weights()])
    with pytest.raises(InputError, match="Expected finite outputs"):
        Detector(broken)(image)


@pytest.mark.parametrize("pixel_max", [0, -1, float("nan")])
def test_no_white(small, pixel_max):
    with pytest.raises(InputError, match="--pixel_max above 0"):
        Detector(small, pixel_max=pixel_max)
