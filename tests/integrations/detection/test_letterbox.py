"""Images lie in the input of a network as in Ultralytics, and boxes come back to where they were."""

import doctest

import numpy as np
import pytest
from ultralytics.data.augment import LetterBox
from ultralytics.utils.ops import scale_boxes

from keras_actnas.integrations.detection import head_outputs, labels, letterbox, suppression
from keras_actnas.integrations.detection.letterbox import Letterbox


@pytest.mark.parametrize("module", [head_outputs, labels, letterbox, suppression])
def test_the_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("image_size", [(48, 64), (101, 67), (300, 33), (1, 500), (64, 96), (97, 97), (720, 1280)])
@pytest.mark.parametrize("input_size", [(64, 96), (96, 64), (320, 320)])
def test_as_in_ultralytics(image_size, input_size):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*image_size, 3), dtype=np.uint8)
    place = Letterbox(image_size, input_size)
    np.testing.assert_array_equal(place.apply(image), LetterBox(input_size, auto=False)(image=image))
    boxes = rng.uniform(-20, 340, (50, 4)).astype(np.float32)
    np.testing.assert_allclose(place.to_image(boxes), scale_boxes(input_size, boxes.copy(), image_size), rtol=1e-5)
