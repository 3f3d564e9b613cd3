"""The label files of YOLO's format: a line for each object, `class centre_x centre_y width height`, as fractions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from keras_actnas.core.errors import InputError

_TOLERANCE = 0.01
"""How far outside the image a coordinate may be, as a fraction of it: Ultralytics' tolerance."""


@dataclasses.dataclass(frozen=True)
class Truth:
    """The objects that an image shows.

    Attributes:
      classes: (n,) class numbers.
      boxes: (n, 4) centre x, centre y, width, height, as fractions of the image's width and height.
    """

    classes: np.ndarray
    boxes: np.ndarray

    def corners(self, height: int, width: int) -> np.ndarray:
        """Returns the boxes (n, 4) as left, top, right, bottom in pixels.

        >>> Truth(np.asarray([0]), np.asarray([[0.5, 0.5, 0.2, 1.0]])).corners(100, 200).tolist()
        [[80.0, 0.0, 120.0, 100.0]]
        """
        centre, half = self.boxes[:, :2], self.boxes[:, 2:] / 2
        return np.concatenate([centre - half, centre + half], axis=1) * np.asarray([width, height] * 2)


def label_path(image: Path) -> Path:
    """Returns the label file of an image: in `labels` in place of the last folder called `images`, ending in .txt.

    >>> label_path(Path("data/images/val/1.jpg")).as_posix()
    'data/labels/val/1.txt'
    """
    parts = list(image.with_suffix(".txt").parts)
    folders = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return Path(*parts)


def read_labels(path: Path, num_classes: int) -> Truth:
    """Reads a label file; one that does not exist is of an image without objects.

    A line of more than 5 numbers is an outline, `class x1 y1 x2 y2 ...`, and becomes the box around it. A line that
    stands there twice is one object, as in Ultralytics.

    Raises:
      InputError: A line is not of this format, its class is not below `num_classes`, or it lies outside the image.
    """
    if not path.is_file():
        return Truth(np.zeros(0, np.int64), np.zeros((0, 4)))
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Expected a label file of text. Received: {path} ({error}).") from error
    rows = [_row(line, num_classes, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    table = np.unique(np.asarray(rows).reshape(-1, 5), axis=0)
    return Truth(table[:, 0].astype(np.int64), table[:, 1:])


def _row(line: str, num_classes: int, where: str) -> list[float]:
    """Returns class, centre x, centre y, width and height of one line."""
    try:
        number, *coordinates = map(float, line.split())
    except ValueError:
        coordinates = []
    if len(coordinates) != 4 and (len(coordinates) < 6 or len(coordinates) % 2):
        raise InputError(f"Expected `class centre_x centre_y width height` in {where}. Received: {line[:80]!r}.")
    if not 0 <= number < num_classes or number != int(number):
        raise InputError(
            f"Expected a class from 0 to {num_classes - 1}, as data.yaml has {num_classes} `names:`, in {where}. "
            f"Received: {line.split()[0]}."
        )
    inside = all(-_TOLERANCE <= value <= 1 + _TOLERANCE for value in coordinates)
    if not inside or (len(coordinates) == 4 and min(coordinates[2:]) < 0):
        raise InputError(
            f"Expected coordinates from 0 to 1, fractions of the image, in {where}. Received: {line[:80]!r}."
        )
    if len(coordinates) > 4:
        xs, ys = coordinates[::2], coordinates[1::2]
        width, height = max(xs) - min(xs), max(ys) - min(ys)
        coordinates = [min(xs) + width / 2, min(ys) + height / 2, width, height]
    return [number, *coordinates]
