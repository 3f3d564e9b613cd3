"""Bounds on metrics in words: which contradict each other, which cannot be kept, and what comes closest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from keras_actnas.core import Constraint, InputError, MetricTable
from keras_actnas.search.choices import Choices


def check_contradictions(constraints: Sequence[Constraint], tables: Mapping[str, MetricTable]) -> None:
    """Raises `InputError` when a metric's lower bound is above its upper bound: no network at all could keep both."""
    for upper, lower in itertools.permutations(constraints, 2):
        reference = tables[upper.metric].reference_value.value
        if (upper.metric, upper.sense, lower.sense) == (lower.metric, "<=", ">=") and not upper.holds(
            lower.bound(reference), reference
        ):
            shown = " and ".join(_in_words(item, tables[item.metric]) for item in (upper, lower))
            raise InputError(f"Expected constraints that do not contradict each other. Received: {shown}.")


def explain(closest: Mapping[Constraint, Constraint], choices: Choices, confidence: float | None = None) -> str:
    """Returns which constraints cannot be kept, and the closest bounds that can."""
    received = " and ".join(_in_words(item, choices.tables[item.metric]) for item in closest)
    sure = "" if confidence is None else f" with a probability of {confidence:g}"
    attainable = " with ".join(_rounded(item, choices) for item in closest.values())
    return (
        f"Expected constraints that some assignment keeps{sure}. Received: {received}. "
        f"The closest that can be met is {attainable}."
    )


def _in_words(constraint: Constraint, table: MetricTable) -> str:
    """Returns a constraint as it was given, with its bound in the metric's unit where it was given relatively."""
    if constraint.factor == 0:
        return f"{constraint}{_unit(table)}"
    return f"{constraint} ({constraint.bound(table.reference_value.value):.6g}{_unit(table)})"


def _rounded(constraint: Constraint, choices: Choices) -> str:
    """Returns an absolute bound with as many digits as matter, rounded to the side on which it can still be met."""
    table = choices.tables[constraint.metric]
    step = (choices.span(constraint.metric) or 1.0) / 1000
    text = f"{constraint.metric} {constraint.sense} {_outward(constraint.offset, step, constraint.sense)}{_unit(table)}"
    reference = table.reference_value.value
    if reference <= 0:
        return text
    percent = _outward(100 * constraint.offset / reference, 100 * step / reference, constraint.sense)
    return f"{text} ({percent} % of the reference)"


def _outward(value: float, step: float, sense: str) -> str:
    digits = max(0, math.ceil(-math.log10(step)))
    away = math.ceil if sense == "<=" else math.floor
    # A number that needs no rounding must not move by what its binary form adds.
    return f"{away(round(value * 10**digits, 6)) / 10**digits:.{digits}f}"


def _unit(table: MetricTable) -> str:
    return f" {table.unit}" if table.unit else ""
