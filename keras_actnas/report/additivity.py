"""Do the tables add up? What they predict of networks that mix activations, against what was measured of them."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

from keras_actnas.core.additivity import Additivity, additivity
from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Measurement
from keras_actnas.core.measured import estimate, reference_estimate
from keras_actnas.core.table import Estimate, MetricTable
from keras_actnas.report.markup import Markup, element, figure, line
from keras_actnas.report.run import Run
from keras_actnas.report.scales import WIDTH, Scale, around, x_axis, y_axis
from keras_actnas.report.text import scale_of_changes

LEAST = 3
"""Networks below which nothing is said of them."""

FITTED = ("design", "round")
"""Purposes of measurements that tables are fitted to."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One network: what its table predicts, and what was measured, as changes against the reference.

    In percent for a metric with a unit, else as differences. `fitted` says whether the table was fitted to it, too.
    """

    assignment: Assignment
    predicted: Estimate
    measured: Estimate
    fitted: bool


def mixed_checks(run: Run, metric: str) -> list[Check]:
    """Returns the checks of all networks in the journal that differ from the reference in at least two sites."""
    table, reference = run.tables[metric], run.reference.assignment
    lines = [
        one
        for one in run.journal
        if one.metric == metric and not one.failure and one.reference_samples
        and len(one.assignment.swaps(reference)) > 1
        # A look whether an activation can be run is one run of a network, too short to tell its latency.
        and (one.purpose != "probe" or run.exact)
    ]  # fmt: skip
    if not lines:
        return []
    values = _scores(lines) if "seed" in lines[-1].conditions else _readings(lines, run.exact)
    checks = []
    for (assignment, fitted), (own, change) in values.items():
        try:
            predicted = table.predict(assignment) - table.reference_value.value
        except InputError:  # An activation that the table has no value for.
            continue
        # Each on its own scale: the machine may have been faster when the table was measured.
        here, _ = scale_of_changes(table.reference_value, table.unit)
        there, _ = scale_of_changes(own, table.unit)
        checks.append(Check(assignment, _scaled(predicted, here), _scaled(change, there), fitted))
    return checks


def agreement(checks: Sequence[Check]) -> Additivity:
    """Returns how well the predictions of networks agree with their measurements."""
    return additivity([check.predicted for check in checks], [check.measured for check in checks])


def _scaled(change: Estimate, scale: float) -> Estimate:
    return Estimate(change.value * scale, change.standard_error * abs(scale))


_Values = dict[tuple[Assignment, bool], tuple[Estimate, Estimate]]
"""(Assignment, whether the table was fitted to it) -> the reference's value, and the change against it."""


def _readings(lines: Iterable[Measurement], exact: bool) -> _Values:
    """Returns the device's measurements; of several of one network and purpose the last counts."""
    values: _Values = {}
    for one in lines:
        own = reference_estimate([one], exact)
        value = estimate(one, own, exact)
        values[one.assignment, one.purpose in FITTED] = own, value - own.value
    return values


def _scores(lines: Sequence[Measurement]) -> _Values:
    """Returns the mean over the starts, of scores under the conditions of the last one."""
    groups: dict[Assignment, list[Measurement]] = collections.defaultdict(list)
    for one in lines:
        if _kind(one) == _kind(lines[-1]):
            groups[one.assignment].append(one)
    most = max(map(len, groups.values()))
    values: _Values = {}
    for assignment, made in groups.items():
        if len(made) == most:
            changes = np.array([one.samples[0] - one.reference_samples[0] for one in made])
            error = float(changes.std(ddof=1) / math.sqrt(most)) if most > 1 else math.nan
            own = Estimate(float(np.mean([one.reference_samples[0] for one in made])))
            values[assignment, made[0].purpose in FITTED] = own, Estimate(float(changes.mean()), error)
    return values


def _kind(one: Measurement) -> dict[str, object]:
    """Returns the conditions of a score without its start: the initial weights and the batch of images."""
    return {key: value for key, value in one.conditions.items() if key not in ("seed", "images")}


def agreement_plot(checks: Sequence[Check], table: MetricTable) -> Markup:
    """Returns predicted against measured: circles for networks that the table was fitted to, triangles for others."""
    sign = scale_of_changes(table.reference_value, table.unit)[1].strip()
    behind = f", {sign}" if sign else ""
    values = [value for check in checks for value in (check.predicted.value, check.measured.value)]
    x_scale, y_scale = around([0.0, *values], 46, WIDTH - 14, 0.06), around([0.0, *values], 270, 30, 0.06)
    parts = [*x_axis(x_scale, 30, 270, f"predicted change of {table.metric}{behind}")]
    parts += y_axis(y_scale, 46, WIDTH - 14, f"found change of {table.metric}{behind}")
    low, high = x_scale.low, x_scale.high
    parts.append(line(x_scale(low), y_scale(low), x_scale(high), y_scale(high), "zero"))
    parts += [_mark(check, x_scale, y_scale) for check in sorted(checks, key=lambda check: not check.fitted)]
    label = (
        f"Predicted against found change of {table.metric} for {len(checks)} networks; on the line both are the same"
    )
    return figure(WIDTH, 310, label, *parts)


def _mark(check: Check, x_scale: Scale, y_scale: Scale) -> Markup:
    x, y = x_scale(check.predicted.value), y_scale(check.measured.value)
    if check.fitted:
        return element("circle", cx=x, cy=y, r=2.5, class_="fitted")
    corners = f"{x:.1f},{y - 5:.1f} {x + 5:.1f},{y + 4:.1f} {x - 5:.1f},{y + 4:.1f}"
    return element("polygon", points=corners, class_="unseen")
