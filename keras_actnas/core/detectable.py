"""The smallest effect that the data behind a table can tell from noise."""

from __future__ import annotations

import numpy as np

from keras_actnas.core.table import MetricTable

POWER_FACTOR = 1.959964 + 0.841621
"""Quantiles of the normal distribution: a test at 5 %, two-sided, that finds the effect in 80 % of all cases."""


def smallest_detectable(table: MetricTable) -> np.ndarray:
    """Returns, for each cell, how large an effect had to be for its measurements to tell it from none.

    An effect of this size is found different from zero, by a two-sided test at 5 %, with a probability of 80 %. In a
    table that was fitted with a prior the standard error holds what other cells say of this one as well.

    Args:
      table: Any metric table.

    Returns:
      Array of shape (sites, activations) in the metric's unit, NaN where the error is not known and at the reference's
      own activations, which have no effect to find.

    >>> from keras_actnas.core import Assignment, Estimate
    >>> reference = Assignment({"a": "silu"})
    >>> made = np.array([[0.0, -0.3]]), np.array([[0.0, 0.1]])
    >>> table = MetricTable("latency", "ms", reference, ("silu", "relu"), Estimate(10.0), *made)
    >>> smallest_detectable(table).round(3).tolist()
    [[nan, 0.28]]
    """
    own = np.array([[name == current for name in table.activations] for current in table.reference.values()])
    return np.where(own, np.nan, POWER_FACTOR * table.standard_error)


def typical_detectable(table: MetricTable) -> float:
    """Returns the median of `smallest_detectable` over the cells whose error is known; NaN if there is none."""
    cells = smallest_detectable(table)
    known = cells[np.isfinite(cells)]
    return float(np.median(known)) if known.size else float("nan")
