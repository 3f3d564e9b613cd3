"""Pixels of the data set: squares of photographs, and items of Fashion-MNIST as they are placed on them."""

from __future__ import annotations

import cv2
import numpy as np

SIZE = 160
SCALES = (24, 72)
"""Longer side of an item in pixels, from and to, in an image of `SIZE`; in others in proportion."""
LARGEST = 112
"""Longer side of an item that lies inside of such an image however it is turned."""

_BLACK = 10  # Up to here a pixel is background, out of 255.


def crop(photograph: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Returns a random square of a photograph, a third to all of its shorter side, scaled, some of them mirrored."""
    height, width = photograph.shape[:2]
    side = int(min(height, width) * rng.uniform(1 / 3, 1))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    square = photograph[top : top + side, left : left + side]
    scaled = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(scaled[:, ::-1] if rng.random() < 0.5 else scaled)


def dress(
    item: np.ndarray, size: int, rng: np.random.Generator, scales: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns an item as it is placed: its colours (height, width, 3), 0 .. 255, and its opacity, 0 .. 1.

    Args:
      item: uint8 (28, 28), bright on black.
      size: Of the image that it is for.
      rng: Where scale, angle, mirror image, contrast and tint come from.
      scales: Longer side of the smallest and of the largest items, as `SCALES` has it.
    """
    mask = cut_out(item)
    top, left, bottom, right = _bounds(mask)
    longest = rng.uniform(*scales) * size / SIZE
    turn = cv2.getRotationMatrix2D(
        ((left + right) / 2, (top + bottom) / 2), rng.uniform(-25, 25), longest / max(bottom - top, right - left)
    )
    if rng.random() < 0.5:
        item, mask = item[:, ::-1], mask[:, ::-1]
        turn[:, 2] += turn[:, 0] * (left + right - 28)
    side = int(np.ceil(longest * 1.5)) + 4  # Whatever the angle, the item is inside.
    turn[:, 2] += side / 2 - np.array(((left + right) / 2, (top + bottom) / 2))
    grey, opacity = (
        cv2.warpAffine(np.ascontiguousarray(one, np.float32), turn, (side, side), flags=cv2.INTER_LINEAR)
        for one in (item, mask)
    )
    alpha = np.clip((opacity - 0.3) / 0.4, 0, 1)
    top, left, bottom, right = _bounds(alpha >= 0.5)
    dark, bright = rng.uniform(0, 70), rng.uniform(170, 255)
    tint = 1 - rng.uniform(0, 0.6) * rng.random(3)
    # By its own brightest pixel: some items are nearly black, and would be holes in the photograph.
    shade = dark + (bright - dark) * np.clip(grey / item.max(), 0, 1)
    return (shade[..., None] * tint)[top:bottom, left:right], alpha[top:bottom, left:right]


def cut_out(item: np.ndarray) -> np.ndarray:
    """Returns where an item is, bool (28, 28): all but the black that reaches the border.

    Black inside of an item, such as the dark print of a shirt, belongs to it, and so do the gaps between the straps of
    a sandal that are closed.
    """
    ground = np.pad((item <= _BLACK).astype(np.uint8), 1, constant_values=1)
    cv2.floodFill(ground, None, (0, 0), 2)
    return ground[1:-1, 1:-1] != 2


def _bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Returns top, left, bottom and right of what is true."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
