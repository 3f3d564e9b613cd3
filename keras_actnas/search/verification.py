"""What becomes of proposals when they are built and measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping, Sequence

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Measurement
from keras_actnas.core.proposal import Proposal
from keras_actnas.core.table import Estimate, MetricTable
from keras_actnas.search import latency, scores
from keras_actnas.search.settings import SearchSettings

Metrics = dict[str, Estimate]


def measured_metrics(
    times: Sequence[Measurement], made: Sequence[Measurement], reference: Assignment
) -> tuple[Metrics, dict[Assignment, Metrics]]:
    """Returns what was measured of the reference and of every assignment.

    Args:
      times: Latency measurements, one for each assignment, all beside the reference.
      made: Scores of the same assignments.
      reference: The reference network's assignment.
    """
    own_latency = latency.latency_of_reference(times)
    own_score, score_of = scores.score_estimates(made, reference)
    measured = {
        measurement.assignment: {
            latency.METRIC: latency.latency_estimate(measurement, own_latency),
            scores.METRIC: score_of[measurement.assignment],
        }
        for measurement in times
    }
    return {latency.METRIC: own_latency, scores.METRIC: own_score}, measured


def predicted_metrics(row: Proposal, tables: Mapping[str, MetricTable], reference: Metrics) -> Metrics:
    """Returns what was predicted of a network, on the scale of the verifying measurement.

    A proposal's prediction is that of the tables it came from, which had not seen it; of other networks it is that of
    `tables`. A machine may run at another speed than when the table was measured: a latency is predicted as a share of
    the reference's. A table that lacks a value, since its design was small, predicts nothing.
    """
    predicted = {}
    for metric, table in tables.items():
        try:
            value = row.predicted.get(metric) or table.predict(row.assignment)
        except InputError:
            continue
        scale = reference[metric].value / table.reference_value.value if table.unit else 1.0
        predicted[metric] = Estimate(value.value * scale, value.standard_error * scale)
    return predicted


class MarginSearch:
    """Finds how much of a margin a bound needs: none, all of it, more; then by bisection, as little as will do.

    Attributes:
      share: The share of the margin to try next.
    """

    def __init__(self) -> None:
        self.share = 0.0
        self._too_little = 0.0
        self._enough: float | None = None

    def report(self, kept: bool) -> None:
        """Takes note of whether the share was enough, and chooses the next."""
        if kept:
            self._enough = self.share
        else:
            self._too_little = self.share
        if self._enough is None:
            self.share = 2 * self.share or 1.0
        else:
            self.share = (self._too_little + self._enough) / 2


def choose(
    found: Sequence[Proposal], kept: Container[Assignment], tables: Mapping[str, MetricTable], settings: SearchSettings
) -> list[Proposal]:
    """Returns the `top_k` best of the proposals of several rounds, `min_distance` apart.

    Args:
      found: The proposals of all rounds.
      kept: The assignments among them that keep the bounds on the score as computed; these come first.
      tables: The last round's tables, which order them by the objective.
      settings: What was asked for.
    """
    sign = -1.0 if settings.maximize else 1.0
    table = tables[settings.objective]
    order = sorted(found, key=lambda row: (row.assignment not in kept, sign * table.predict(row.assignment).value))
    chosen: list[Proposal] = []
    for row in order:
        if all(len(row.assignment.swaps(other.assignment)) >= settings.min_distance for other in chosen):
            chosen.append(dataclasses.replace(row, name=f"ilp-{len(chosen) + 1}"))
    return chosen[: settings.top_k]


def rank(rows: Sequence[Proposal], reference: Proposal, settings: SearchSettings) -> list[Proposal]:
    """Sorts verified proposals: first those that break the constraints least, beyond error, then by the objective.

    The objective is what prediction and measurement say together, each weighted by its precision: a measurement alone
    would put the luckiest first.
    """

    def key(row: Proposal) -> tuple[float, float]:
        broken = 0.0
        for constraint in settings.constraints:
            if row.standing(constraint, reference) == "broken":
                own = reference.measured[constraint.metric].value
                broken += constraint.shortfall(row.measured[constraint.metric].value, own) / max(abs(own), 1e-9)
        sign = -1.0 if settings.maximize else 1.0
        return broken, sign * _together(row, settings.objective)

    return sorted(rows, key=key)


def _together(row: Proposal, metric: str) -> float:
    measured, predicted = row.measured[metric], row.predicted.get(metric)
    if predicted is None or not (measured.standard_error > 0 and predicted.standard_error > 0):
        return measured.value
    weight, other = measured.standard_error**-2, predicted.standard_error**-2
    return (weight * measured.value + other * predicted.value) / (weight + other)


def with_latency(row: Proposal, estimate: Estimate) -> Proposal:
    """Returns a proposal with another measured latency."""
    return dataclasses.replace(row, measured={**row.measured, latency.METRIC: estimate})
