"""What the study is about: each network that is trained, at any resolution, with the images that it is trained on."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from networks import residual

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from fashion_mnist import load


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network of the study.

    Attributes:
      name: What files about it are called.
      size: Height and width of its images, pixels.
      build: Takes a size; returns the network with new weights.
      images: All its training images, as it sees them, shape (count, size, size, channels).
    """

    name: str
    size: int
    build: Callable[[int], keras.Model]
    images: np.ndarray

    def batch(self, count: int, number: int = 0, size: int | None = None) -> np.ndarray:
        """Returns a batch of training images, scaled bilinearly where another size is asked for.

        Args:
          count: Images in it.
          number: Which of the batches of so many images, none of which share any.
          size: Height and width, pixels; None for those of the training.
        """
        images = self.images[number * count : (number + 1) * count]
        if size in (None, self.size):
            return images
        scaled = keras.ops.image.resize(images, (size, size), interpolation="bilinear", antialias=True)
        return keras.ops.convert_to_numpy(scaled)


def residual_subject(data: str | None) -> Subject:
    """Returns the residual classifier with the images of Fashion-MNIST; see `load` for `data`."""
    images = load(data, 20_000).train_images
    return Subject("residual", 28, lambda size: residual((size, size, 1)), images)


SUBJECTS = {"residual": residual_subject}
"""Name of a network -> function that returns it, given the folder of the data."""
