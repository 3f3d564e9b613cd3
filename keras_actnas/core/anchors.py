"""The geometry of YOLOv8's anchor-free head: what its cells and the distributions of its box sides stand for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

STRIDES = (8, 16, 32)
"""Input pixels per cell of the three head maps."""

BINS = 16
"""A box side is a distribution over the distances 0 .. 15, in cells (distribution focal loss, DFL)."""


def anchor_grid(sizes: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the cells' centres (anchors, 2) as x, y and their strides (anchors, 1), both in input pixels.

    Args:
      sizes: Height and width of the three head maps.

    >>> centres, strides = anchor_grid([(8, 4), (4, 2), (2, 1)])
    >>> centres[1].tolist(), strides[-1].tolist(), len(centres)
    ([12.0, 4.0], [32.0], 42)
    """
    centres, strides = [], []
    for (height, width), stride in zip(sizes, STRIDES, strict=True):
        y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        centres.append((np.stack([x.ravel(), y.ravel()], axis=-1) + 0.5) * stride)
        strides.append(np.full((height * width, 1), stride))
    return np.concatenate(centres).astype("float32"), np.concatenate(strides).astype("float32")
