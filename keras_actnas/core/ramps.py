"""Ramps: a coefficient that is 0, rises, and is 1, as a function of the position in a training run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from keras_actnas.core.checks import is_finite
from keras_actnas.core.errors import InputError

SHAPES: dict[str, Callable[[float, float], float]] = {
    "linear": lambda progress, power: progress,
    "cosine": lambda progress, power: (1 - math.cos(math.pi * progress)) / 2,
    "polynomial": lambda progress, power: progress**power,
}


@dataclasses.dataclass(frozen=True)
class Ramp:
    """A rise from 0 at `start` to 1 at `end`.

    Attributes:
      start: Position up to which the coefficient is 0.
      end: Position from which on it is 1; where it equals `start`, the coefficient jumps.
      schedule: `"linear"`, `"cosine"`, `"polynomial"`, or a function of the progress, from 0 at start to 1 at end, that
        returns the coefficient.
      power: Exponent of a polynomial.

    Raises:
      InputError: A value is not of its kind, or end lies before start.

    >>> Ramp(start=5, end=15).at(10)
    0.5
    """

    start: float
    end: float
    schedule: str | Callable[[float], float] = "linear"
    power: float = 2.0

    def __post_init__(self) -> None:
        for name, low in (("start", 0), ("end", 0), ("power", None)):
            value = getattr(self, name)
            if not is_finite(value) or (value < low if low is not None else value <= 0):
                bound = "of 0 or more" if low is not None else "above 0"
                raise InputError(f"Expected {name} to be a number {bound}. Received: {value!r}.")
        if self.end < self.start:
            raise InputError(
                f"Expected end not before start={self.start!r}, where the transition begins. Received: {self.end!r}."
            )
        if not callable(self.schedule) and not (isinstance(self.schedule, str) and self.schedule in SHAPES):
            raise InputError(
                f"Expected a schedule of {', '.join(SHAPES)}, or a function of the progress. "
                f"Received: {self.schedule!r}."
            )

    def at(self, position: float) -> float:
        """Returns the coefficient at a position."""
        if position >= self.end:
            return 1.0
        if position <= self.start:
            return 0.0
        progress = (position - self.start) / (self.end - self.start)
        if not callable(self.schedule):
            return SHAPES[self.schedule](progress, self.power)
        return _checked(self.schedule(progress), progress)


def _checked(value: Any, progress: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise InputError(
            f"Expected a schedule that returns alpha from 0 to 1. Received: {value!r} at progress {progress:g}."
        )
    return number
