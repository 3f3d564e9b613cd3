"""What kind of number a user gave."""

from __future__ import annotations

import math
import numbers
from typing import Any


def is_whole(value: Any) -> bool:
    """Returns whether a value is an integer, of Python or NumPy, and no boolean."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Returns whether a value is a finite real number, of Python or NumPy, and no boolean."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
