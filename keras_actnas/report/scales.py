"""From values to places in a figure: scales, their ticks, and axes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

from keras_actnas.report.markup import Markup, line, text

WIDTH = 360
"""Width of every figure in its own units: about that of a phone, so that letters stay readable there."""

_HALF_LETTER = 3.1


@dataclasses.dataclass(frozen=True)
class Scale:
    """A linear map from values to places.

    Attributes:
      low: Smallest value.
      high: Largest value, above `low`.
      start: Place of `low`.
      end: Place of `high`; smaller than `start` for an axis that runs up.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Returns the place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Returns round values within the scale, at most so many.

        >>> Scale(0.0, 7.0, 0.0, 100.0).ticks()
        [0.0, 2.0, 4.0, 6.0]
        """
        raw = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= raw * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 12) for number in range(first, last + 1)]


def around(values: Iterable[float], start: float, end: float, margin: float = 0.08) -> Scale:
    """Returns the scale of all finite values, with some room on both sides."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    room = margin * (high - low) or 0.05 * abs(high) or 1.0
    return Scale(low - room, high + room, start, end)


def tick_text(value: float, ticks: Sequence[float]) -> str:
    """Returns a tick's label with as many digits as tell it from the next, and a real minus sign."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(value) or 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.{digits}f}".replace("-", "−")


def x_axis(scale: Scale, top: float, bottom: float, label: str, most: int = 5) -> list[Markup]:
    """Returns grid lines from `top` to `bottom` with their values, and the axis's label below."""
    ticks = scale.ticks(most)
    parts = [line(scale(tick), top, scale(tick), bottom, "grid") for tick in ticks]
    parts += [text(scale(tick), bottom + 14, tick_text(tick, ticks), "middle", "tick") for tick in ticks]
    middle = min((scale.start + scale.end) / 2, WIDTH - _HALF_LETTER * len(label))
    return [*parts, text(middle, bottom + 30, label, "middle", "axis")]


def y_axis(scale: Scale, left: float, right: float, label: str) -> list[Markup]:
    """Returns grid lines from `left` to `right` with their values, and the axis's label above."""
    ticks = scale.ticks()
    parts = [line(left, scale(tick), right, scale(tick), "grid") for tick in ticks]
    parts += [text(left - 5, scale(tick) + 4, tick_text(tick, ticks), "end", "tick") for tick in ticks]
    return [*parts, text(4, min(scale.start, scale.end) - 10, label, "start", "axis")]
