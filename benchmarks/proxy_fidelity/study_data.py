"""The training images of the classifier that is looked at, for a search: `--train_data` names `load`."""

from __future__ import annotations

import numpy as np

labelled: tuple[np.ndarray, np.ndarray]
"""Images and classes."""


def load() -> tuple[np.ndarray, np.ndarray]:
    """Returns images and classes."""
    return labelled
