"""What becomes of proposals when they are built and measured."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Measurement
from keras_actnas.core.proposal import Proposal
from keras_actnas.core.table import Estimate, MetricTable
from keras_actnas.search import readings, scores
from keras_actnas.search.settings import SearchSettings

Metrics = dict[str, Estimate]

TENSOR_MEMORY = "tensor_memory"
"""Metric, KiB: the most that tensors which are alive at the same time need, computed from the graph."""


def measured_metrics(
    measured: Mapping[Assignment, Sequence[Measurement]],
    made: Sequence[Measurement],
    reference: Assignment,
    exact: bool = False,
    noise: float = math.nan,
) -> tuple[Metrics, dict[Assignment, Metrics]]:
    """Returns what was measured of the reference and of every assignment.

    Args:
      measured: The device's measurements of assignments, all beside the reference; of some there may be none.
      made: Scores of the same assignments, all of one proxy.
      reference: The reference network's assignment.
      exact: Whether the device gives the same values each time.
      noise: Standard deviation of a score, where each has the noise of a training.
    """
    own_score, score_of = scores.score_estimates(made, reference, noise)
    proxy = made[0].metric
    own = {proxy: own_score}
    found: dict[Assignment, Metrics] = {assignment: {} for assignment in measured}
    found.update({assignment: {proxy: score} for assignment, score in score_of.items()})
    for metric in dict.fromkeys(one.metric for lines in measured.values() for one in lines if not one.failure):
        lines = readings.of_metric(measured, metric)
        beside = [one for one in lines if one.reference_samples]
        if beside:
            own[metric] = readings.reference_estimate(beside, exact)
        for one in lines:
            if one.reference_samples:
                found[one.assignment][metric] = readings.estimate(one, own[metric], exact)
            else:  # What one look tells, of each network by itself.
                found[one.assignment][metric] = Estimate(one.samples[0])
                if "peak_tensor_bytes" in one.conditions:  # Beside the memory of the process, what the tensors need.
                    found[one.assignment][TENSOR_MEMORY] = Estimate(one.conditions["peak_tensor_bytes"] / 1024, 0.0)
    return own, found


def predicted_metrics(row: Proposal, tables: Mapping[str, MetricTable], reference: Metrics) -> Metrics:
    """Returns what was predicted of a network, on the scale of the verifying measurement.

    A proposal's prediction is that of the tables it came from, which had not seen it; of other networks it is that of
    `tables`. A machine may run at another speed than when the table was measured: a latency is predicted as a share of
    the reference's, unless that is zero. A table that lacks a value, since its design was small, predicts nothing.
    """
    predicted = {}
    for metric, table in tables.items():
        try:
            value = row.predicted.get(metric) or table.predict(row.assignment)
        except InputError:
            continue
        own = reference.get(metric, table.reference_value)
        # A system may have none of something, such as DRAM: nothing is a share of that.
        scale = own.value / table.reference_value.value if table.unit and table.reference_value.value else 1.0
        predicted[metric] = Estimate(value.value * scale, value.standard_error * scale)
    return predicted


def rank(rows: Sequence[Proposal], reference: Proposal, settings: SearchSettings) -> list[Proposal]:
    """Sorts verified proposals: first those that break the constraints least, beyond error, then by the objective.

    The objective is what prediction and measurement say together, each weighted by its precision: a measurement alone
    would put the luckiest first.
    """
    goal = settings.goal

    def key(row: Proposal) -> tuple[float, float]:
        broken = 0.0
        for constraint in settings.constraints:
            if row.standing(constraint, reference) == "broken":
                own = reference.measured[constraint.metric].value
                broken += constraint.shortfall(row.measured[constraint.metric].value, own) / max(abs(own), 1e-9)
        return broken, goal.cost({metric: _together(row, metric) for metric in goal.metrics})

    return sorted(rows, key=key)


def _together(row: Proposal, metric: str) -> float:
    measured, predicted = row.measured.get(metric), row.predicted.get(metric)
    known = [value for value in (measured, predicted) if value is not None]
    if len(known) == 1 or not all(value.standard_error > 0 for value in known):
        return known[0].value
    weights = [value.standard_error**-2 for value in known]
    return sum(weight * value.value for weight, value in zip(weights, known, strict=True)) / sum(weights)


def with_measured(row: Proposal, metric: str, estimate: Estimate) -> Proposal:
    """Returns a proposal with another measured value of a metric."""
    return dataclasses.replace(row, measured={**row.measured, metric: estimate})


def notes(rows: Sequence[Proposal], measured: Mapping[Assignment, Sequence[Measurement]]) -> list[str]:
    """Returns what there is to know about how the device runs networks: of the first, and where others differ from it.

    Args:
      rows: The networks, the reference first.
      measured: The device's measurements of them.
    """
    remarks = {row.name: _remarks(measured.get(row.assignment, ())) for row in rows}
    own = remarks[rows[0].name]
    lines = [f"{rows[0].name}: {'; '.join(own)}; the others likewise, unless they are named."] if own else []
    for row in rows[1:]:
        new = [remark for remark in remarks[row.name] if remark not in own]
        if new:
            lines.append(f"{row.name}: {'; '.join(new)}.")
    return lines


def _remarks(measurements: Sequence[Measurement]) -> list[str]:
    for one in measurements[:1]:
        if one.failure:
            return [f"cannot be run: {one.failure}"]
        said = (say(one.conditions[key]) for key, say in _REMARKS.items() if one.conditions.get(key))
        return [remark for remark in said if remark]
    return []


def _split(partitions: int) -> str:
    return f"the delegate runs it in {partitions} parts, with other kernels in between" if partitions > 1 else ""


_REMARKS: dict[str, Callable[[Any], str]] = {
    "partitions": _split,
    "float_islands": lambda operators: f"computes in float: {', '.join(operators)}",
    "cpu_operators": lambda operators: f"left to the CPU, at no cost in the estimate: {', '.join(operators)}",
    "fallback": lambda operators: f"left to another provider: {', '.join(operators)}",
    "disturbed": lambda reason: f"measured while the board was disturbed: {reason}",
}
