"""The training images of the classifier that is looked at, for a search: `--train_data` names `load`."""

from __future__ import annotations

import numpy as np

HELD_OUT = 10_000
"""How many of the images, the last ones, a search asks with."""

labelled: tuple[np.ndarray, np.ndarray] = np.empty(0), np.empty(0)
"""Images and classes of the one that was made last."""

_BATCH = 64


def load() -> tuple[list[tuple[np.ndarray, np.ndarray]], ...]:
    """Returns batches to train on, and others to ask with."""
    images, classes = labelled
    count = len(images) - HELD_OUT
    batches = [(images[row:][:_BATCH], classes[row:][:_BATCH]) for row in range(0, count, _BATCH)]
    return batches, [(images[row:][:_BATCH], classes[row:][:_BATCH]) for row in range(count, len(images), _BATCH)]
