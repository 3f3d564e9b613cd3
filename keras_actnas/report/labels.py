"""Labels beside points, placed so that they hide neither each other nor a point."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from keras_actnas.report.markup import Markup, line, text

Box = tuple[float, float, float, float]

_LETTER, _HEIGHT = 6.2, 11.0
"""Width of a letter and height of a line, in units of the figure."""

_DISTANCES = (10.0, 20.0, 32.0, 46.0, 62.0)
_DIRECTIONS = tuple(math.pi * eighth / 8 for eighth in (0, 16, 8, 12, 4, 2, 14, 6, 10, 1, 15, 3, 13, 5, 11, 7, 9))


def place_labels(points: Sequence[tuple[float, float, str]], inside: Box, avoided: Sequence[Box]) -> list[Markup]:
    """Returns a label for each point: the nearest place that is free, with a thin line to it when it is far off.

    Args:
      points: Place and label of each point.
      inside: Where labels may be: left, top, right, bottom.
      avoided: What labels should not lie on.
    """
    taken = list(avoided)
    parts = []
    for x, y, label in points:
        box, far = _free_box(x, y, _LETTER * len(label), inside, taken)
        taken.append(box)
        if far:
            end = min(max(x, box[0]), box[2])
            parts.append(line(x, y, end, box[3] if box[3] < y else box[1] if box[1] > y else y, "leader"))
        parts.append(text(box[0], box[3] - 2, label, class_="label"))
    return parts


def _free_box(x: float, y: float, width: float, inside: Box, taken: Sequence[Box]) -> tuple[Box, bool]:
    best, least = None, math.inf
    for distance, angle in itertools.product(_DISTANCES, _DIRECTIONS):
        middle = x + math.cos(angle) * (distance + width / 2), y + math.sin(angle) * distance
        box = (middle[0] - width / 2, middle[1] - _HEIGHT / 2, middle[0] + width / 2, middle[1] + _HEIGHT / 2)
        covered = sum(_overlap(box, other) for other in taken) + 4 * _outside(box, inside)
        if covered < least:
            best, least = (box, distance > _DISTANCES[1]), covered
        if covered == 0:
            break
    assert best is not None
    return best


def _overlap(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def _outside(box: Box, inside: Box) -> float:
    """Returns the area of a box that lies outside of another."""
    return (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, inside)
