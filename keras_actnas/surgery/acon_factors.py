"""Who computes with which of ACON's factors: the layer before, the activation itself, the layers behind."""

from __future__ import annotations

import dataclasses

import numpy as np

_SMALL = 1e-7
"""A channel whose sigmoid has a smaller slope than this is linear, to float32 precision."""

_GENTLE = 1e-4
"""Factor before a sigmoid that keeps a linear channel linear."""


@dataclasses.dataclass(frozen=True)
class Factors:
    """Factors for each channel: `f(x) = behind * y * (scale * sigmoid(slope * y) + shift)`, where `y = before * x`.

    Attributes:
      before: Factor of the input, or None.
      own: The activation's own factors, by name; `slope`, `scale` and `shift` are left out where they are 1, 1 and 0.
      behind: Factor of the output, never 0, or None.
    """

    before: np.ndarray | None
    own: dict[str, np.ndarray]
    behind: np.ndarray | None

    def exceed(self, low: float, high: float) -> bool:
        """Returns whether the input or the output is scaled by a factor whose size is outside of a range."""
        factors = [np.abs(value) for value in (self.before, self.behind) if value is not None]
        return any(bool(np.any((value < low) | (value > high))) for value in factors)


def distribute(p1: np.ndarray, p2: np.ndarray, beta: np.ndarray, before: bool, behind: bool) -> Factors:
    """Returns the factors of ACON-C, `x (d sigmoid(b x) + p2)` with `d = p1 - p2` and `b = beta d`.

    Args:
      p1: One number for each channel.
      p2: One number for each channel; all 0 for ACON-A.
      beta: One number for each channel.
      before: Whether a layer before can scale the input.
      behind: Whether layers behind can scale the output.

    >>> one = np.ones(1)
    >>> distribute(one, 0 * one, 2 * one, before=True, behind=True)
    Factors(before=array([2.]), own={}, behind=array([0.5]))
    """
    if not np.any(p2):
        return _without_shift(p1, beta, before and behind)
    p1, p2 = np.maximum(p1, p2), np.minimum(p1, p2)  # ACON-C is the same with p1 and p2 exchanged.
    d = p1 - p2
    b = beta * d
    if before:
        return _behind_a_scaled_input(d, b, p2, behind)
    if behind and np.all(d >= _SMALL):
        return Factors(None, _told({"slope": b, "shift": p2 / d}), d)
    return Factors(None, _told({"slope": b, "scale": d, "shift": p2}), None)


def _without_shift(p1: np.ndarray, beta: np.ndarray, both: bool) -> Factors:
    """Returns the factors of `p1 x sigmoid(beta p1 x)`: only together do those before and behind save anything."""
    b = beta * p1
    if not both:
        return Factors(None, _told({"slope": b, "scale": p1}), None)
    b = np.where(np.abs(b) < _SMALL, np.copysign(_SMALL, b), b)
    return Factors(b, {}, np.where(p1 == 0, 1.0, p1 / b))


def _behind_a_scaled_input(d: np.ndarray, b: np.ndarray, p2: np.ndarray, behind: bool) -> Factors:
    linear = np.abs(b) < _SMALL
    slope = d / 2 + p2  # Of a linear channel.
    before = np.where(linear, _GENTLE, b)
    if not behind:
        scale, shift = np.where(linear, 0.0, d / before), np.where(linear, slope, p2) / before
        return Factors(before, _told({"scale": scale, "shift": shift}), None)
    divisor = np.where(linear, 1.0, d)
    shift = np.where(linear, slope / _GENTLE - 0.5, p2 / divisor)
    return Factors(before, {"shift": shift}, np.where(linear, 1.0, divisor / before))


def _told(own: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the factors that do something."""
    return {name: value for name, value in own.items() if np.any(value != (0 if name == "shift" else 1))}
