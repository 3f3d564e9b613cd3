"""NumPy decodes head maps as the Keras layers do, in whatever order they come."""

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.integrations.detection.head_outputs import count_classes, decode
from keras_actnas.models.yolo_heads import decode_maps

SIZE = (64, 96)
SHAPES = [(1, 8, 12, 67), (1, 4, 6, 67), (1, 2, 3, 67)]


def random_maps():
    return [np.random.default_rng(0).normal(0, 9, shape).astype(np.float32) for shape in SHAPES]


def test_decoding_equals_the_layers():
    inputs = [keras.Input(batch_shape=shape) for shape in SHAPES]
    layers = keras.Model(inputs, decode_maps([(one[..., :64], one[..., 64:]) for one in inputs], "head"))
    expected = keras.ops.convert_to_numpy(layers(random_maps()))
    boxes, probabilities = decode(random_maps(), SIZE)
    for got, want in zip((boxes, probabilities), decode([expected], SIZE), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    np.testing.assert_allclose(centres, expected[0, :, :2], atol=1e-4)
    assert boxes.shape == (126, 4) and probabilities.shape == (126, 3)


def test_the_order_of_the_maps_does_not_matter():
    for got, want in zip(decode(random_maps()[::-1], SIZE), decode(random_maps(), SIZE), strict=True):
        np.testing.assert_array_equal(got, want)


def test_logits_may_be_large():
    maps = [np.full(shape, value, np.float32) for shape, value in zip(SHAPES, (-900, 0, 900), strict=True)]
    boxes, probabilities = decode(maps, SIZE)
    assert np.isfinite(boxes).all()
    assert set(np.unique(probabilities)) == {0, 0.5, 1}


@pytest.mark.parametrize("shapes", [SHAPES, SHAPES[::-1], [(None, 126, 7)]])
def test_classes_are_counted(shapes):
    assert count_classes(shapes, SIZE, "x") == 3


@pytest.mark.parametrize(
    ("shapes", "size"),
    [
        ([(1, 10)], SIZE),
        (SHAPES[:2], SIZE),
        ([*SHAPES[:2], (1, 2, 3, 68)], SIZE),
        ([(*shape[:3], 64) for shape in SHAPES], SIZE),
        ([(1, 84, 126)], SIZE),
        ([(1, 126, 4)], SIZE),
        (SHAPES, (96, 64)),
        (SHAPES, (65, 96)),
        ([], SIZE),
    ],
)
def test_other_outputs_are_refused(shapes, size):
    with pytest.raises(InputError, match="Expected a YOLO with the output of .*Received: net.tflite with outputs"):
        count_classes(shapes, size, "net.tflite")
