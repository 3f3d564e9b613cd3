"""What the study is about: each network that is trained, at any resolution, with the images that it is trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
from networks import residual
from train import Trainer, load


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network of the study.

    Attributes:
      name: What files about it are called.
      size: Height and width of its images, pixels.
      build: Takes a size; returns the network with new weights.
      images: All its training images, as it sees them, shape (count, size, size, channels).
      train: Returns the network as the study's training of seed 0 leaves it.
    """

    name: str
    size: int
    build: Callable[[int], keras.Model]
    images: np.ndarray
    train: Callable[[], keras.Model]

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
    found = load(data, 20_000)

    def train() -> keras.Model:
        trainer = Trainer(found.train_images, found.train_labels, (found.test_images, found.test_labels), 100, 0.1)
        trainer.train(trainer.reference, 0, epochs=12)
        return trainer.reference_model()

    return Subject("residual", 28, lambda size: residual((size, size, 1)), found.train_images, train)


SUBJECTS = {"residual": residual_subject}
"""Name of a network -> function that returns it, given the folder of the data."""
