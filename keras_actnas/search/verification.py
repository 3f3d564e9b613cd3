"""What becomes of proposals when they are built and measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

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


def predicted_metrics(assignment: Assignment, tables: Mapping[str, MetricTable], reference: Metrics) -> Metrics:
    """Returns what the tables predict, on the scale of the verifying measurement.

    A machine may run at another speed than when the table was measured: a latency is predicted as a share of the
    reference's. A table that lacks a value, since its design was small, predicts nothing.
    """
    predicted = {}
    for metric, table in tables.items():
        try:
            value = table.predict(assignment)
        except InputError:
            continue
        scale = reference[metric].value / table.reference_value.value if table.unit else 1.0
        predicted[metric] = Estimate(value.value * scale, value.standard_error * scale)
    return predicted


def rank(rows: Sequence[Proposal], reference: Proposal, settings: SearchSettings) -> list[Proposal]:
    """Sorts verified proposals: first those that break the constraints least, beyond error, then by the objective."""

    def key(row: Proposal) -> tuple[float, float]:
        broken = 0.0
        for constraint in settings.constraints:
            if row.standing(constraint, reference) == "broken":
                own = reference.measured[constraint.metric].value
                broken += constraint.shortfall(row.measured[constraint.metric].value, own) / max(abs(own), 1e-9)
        sign = -1.0 if settings.maximize else 1.0
        return broken, sign * row.measured[settings.objective].value

    return sorted(rows, key=key)


def with_latency(row: Proposal, estimate: Estimate) -> Proposal:
    """Returns a proposal with another measured latency."""
    return dataclasses.replace(row, measured={**row.measured, latency.METRIC: estimate})
