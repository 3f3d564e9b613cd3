"""Pareto sweeps: assignments of which none is better in one metric without being worse in another."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import operator
import time
from collections.abc import Mapping, Sequence

import numpy as np

from keras_actnas.core import Constraint, InputError, MetricTable, Proposal
from keras_actnas.core.checks import is_whole
from keras_actnas.search.bound_words import check_contradictions, explain
from keras_actnas.search.choices import Choices
from keras_actnas.search.confidence import Confidence
from keras_actnas.search.ilp import InfeasibleError
from keras_actnas.search.ilp_search import ILPSearch
from keras_actnas.search.rules import Rules

# What is closer than this share of a metric's range counts as equal: well above the solver's tolerance.
_SAME = 1e-7
# The same, as a share of the reference's value.
_ROUNDING = 4e-9

Bounds = tuple[float, ...]


def solve_pareto(
    tables: Mapping[str, MetricTable],
    minimize: Sequence[str] = (),
    constraints: Sequence[Constraint] = (),
    *,
    maximize: Sequence[str] = (),
    rules: Rules | None = None,
    confidence: float | None = None,
    steps: int | None = 10,
    solver: str = "highs",
    time_limit: float | None = None,
) -> list[Proposal]:
    """Returns assignments that no other beats in all of two or three metrics, by epsilon constraints (exact).

    The first metric is optimized under bounds on the others, and of what is equally good the best in all is taken, so
    every point returned is on the front of *all* assignments that keep the constraints. `steps` bounds, evenly spaced
    over the range that each other metric has on the front, give a part of the front; with None the whole front comes
    back, which grows quickly with the number of sites (Kirlik and Sayin 2014).

    Args:
      tables: Metric -> table, all of the same model.
      minimize: The metrics to make as small as can be.
      constraints: Bounds on predicted metrics that every point keeps.
      maximize: The metrics to make as large as can be; with those to minimize two or three.
      rules: What the choices must keep to besides.
      confidence: With which probability each of the constraints must hold, as in `solve_ilp`; the front itself is that
        of the predictions.
      steps: How many bounds on each metric but the first; None for every point of the front.
      solver: "highs" or "cbc".
      time_limit: Seconds for the whole sweep; None for no limit.

    Returns:
      Proposals "pareto-1", ..., the best in the first metric first, each proven ("optimal"). Values that differ by less
      than 1e-7 of a metric's range count as equal, and one of such assignments comes back.

    Raises:
      InputError: As of `solve_ilp`, not two or three metrics, or a time that is too short.
      InfeasibleError: No assignment keeps the constraints.

    >>> from keras_actnas.core import Assignment, Estimate
    >>> silu = Assignment.uniform(["stem", "head"], "silu")
    >>> def table(metric, delta):
    ...     delta = np.array(delta)
    ...     return MetricTable(metric, "", silu, ("silu", "relu"), Estimate(10.0), delta, np.zeros_like(delta))
    >>> tables = {"latency": table("latency", [[0, -2], [0, -1.0]]), "nwot": table("nwot", [[0, -1.0], [0, 1]])}
    >>> front = solve_pareto(tables, ["latency"], maximize=["nwot"])
    >>> [(row.predicted["latency"].value, row.predicted["nwot"].value) for row in front]
    [(7.0, 10.0), (9.0, 11.0)]
    """
    start = time.monotonic()
    _check(minimize, maximize, steps, time_limit)
    signs = {**dict.fromkeys(minimize, 1.0), **dict.fromkeys(maximize, -1.0)}
    choices = Choices(tables, [*signs, *(constraint.metric for constraint in constraints)], rules)
    check_contradictions(constraints, tables)
    deadline = math.inf if time_limit is None else start + time_limit
    front = _Front(choices, signs, list(constraints), Confidence(confidence), solver, deadline)
    if front.point([math.inf] * (len(signs) - 1)) is None:
        search = front.search(choices.grid.fold(choices.delta[next(iter(signs))]))
        relaxed = search.closest(constraints)
        raise InfeasibleError(explain(relaxed, choices, confidence), relaxed)
    points = front.every_point() if steps is None else front.points_under(steps)
    points = sorted(points, key=front.costs)
    return [dataclasses.replace(point, name=f"pareto-{number}") for number, point in enumerate(points, start=1)]


@dataclasses.dataclass(frozen=True)
class _Front:
    """The front of some metrics, each with the sign that makes it a cost."""

    choices: Choices
    signs: Mapping[str, float]
    constraints: list[Constraint]
    confidence: Confidence
    solver: str
    deadline: float

    def costs(self, point: Proposal) -> Bounds:
        """Returns the metrics of a point as costs, in their units."""
        return tuple(sign * point.predicted[metric].value for metric, sign in self.signs.items())

    def every_point(self) -> list[Proposal]:
        """Returns the whole front: what a found point leaves open is below it in one of the bounded metrics."""
        points: list[Proposal] = []
        boxes: list[Bounds] = [(math.inf,) * (len(self.signs) - 1)]
        while boxes:
            box = boxes.pop(0)
            point = self.point([bound - same for bound, same in zip(box, self._same[1:], strict=True)])
            if point is None:
                continue
            self._add(points, point)
            for number, cost in enumerate(self.costs(point)[1:]):
                child = (*box[:number], cost, *box[number + 1 :])
                if not any(all(map(operator.le, child, other)) for other in boxes):
                    boxes.append(child)
        return points

    def points_under(self, steps: int) -> list[Proposal]:
        """Returns the points under evenly spaced bounds on every metric but the first."""
        metrics = list(self.signs)
        ends = [self.point([math.inf] * (len(metrics) - 1), first) for first in metrics]
        costs = np.array([self.costs(end) for end in ends if end is not None])
        ranges = [np.linspace(low, high, steps) for low, high in zip(costs.min(0)[1:], costs.max(0)[1:], strict=True)]
        points: list[Proposal] = []
        for bounds in itertools.product(*ranges):
            point = self.point([float(bound) for bound in bounds])
            if point is not None:
                self._add(points, point)
        return points

    def point(self, bounds: Sequence[float], first: str | None = None) -> Proposal | None:
        """Returns the point that is the best in the first metric, or another, under bounds on the metrics after it.

        Of all that are equally good in that metric it is the best in the sum of all, so no other is better in one.
        """
        metrics = list(self.signs)
        first = first or metrics[0]
        under = [
            self._bound(metric, bound) for metric, bound in zip(metrics[1:], bounds, strict=True) if bound < math.inf
        ]
        best = self._best(self._cost(first), under)
        if best is None:
            return None
        ranges = dict(zip(metrics, self._same, strict=True))
        together = np.sum([self._cost(metric) / ranges[metric] for metric in metrics], axis=0)
        level = self._bound(first, self.signs[first] * best.predicted[first].value)
        return self._best(together, [*under, level]) or best

    def search(self, weights: np.ndarray) -> ILPSearch:
        """Returns a search for the smallest sum of weights."""
        return ILPSearch(self.choices, weights, self.solver, self.deadline, self.confidence)

    def _best(self, weights: np.ndarray, under: list[Constraint]) -> Proposal | None:
        search = self.search(weights)
        found, proven = search.best(self.constraints, certain=under)
        if not proven and (not found or time.monotonic() >= self.deadline):
            raise search.no_answer()
        return found[0] if found else None

    def _cost(self, metric: str) -> np.ndarray:
        return self.signs[metric] * self.choices.costs(metric)

    def _bound(self, metric: str, cost: float) -> Constraint:
        sign = self.signs[metric]
        return Constraint(metric, "<=" if sign > 0 else ">=", 0.0, sign * cost)

    def _add(self, points: list[Proposal], point: Proposal) -> None:
        costs = self.costs(point)
        for other in points:
            if all(abs(a - b) <= same for a, b, same in zip(costs, self.costs(other), self._same, strict=True)):
                return
        points.append(point)

    @functools.cached_property
    def _same(self) -> list[float]:
        """By how much two values of each metric may differ and count as equal."""
        # Not below what `Constraint.holds` leaves to rounding, or a bound would not exclude the point that set it.
        return [
            max(_SAME * self.choices.span(metric), _ROUNDING * max(1.0, abs(table.reference_value.value)))
            for metric in self.signs
            for table in [self.choices.tables[metric]]
        ]


def _check(minimize: Sequence[str], maximize: Sequence[str], steps: int | None, time_limit: float | None) -> None:
    metrics = [*minimize, *maximize]
    if isinstance(minimize, str) or isinstance(maximize, str) or len(set(metrics)) != len(metrics):
        raise InputError(f"Expected lists of different metrics. Received: {minimize!r} and {maximize!r}.")
    if len(metrics) not in (2, 3):
        raise InputError(f"Expected two or three metrics for a front. Received: {', '.join(metrics) or 'none'}.")
    if steps is not None and (not is_whole(steps) or steps < 2):
        raise InputError(f"Expected steps to be an integer of at least 2. Received: {steps!r}.")
    if time_limit is not None and not time_limit > 0:
        raise InputError(f"Expected time_limit in seconds, above 0. Received: {time_limit}.")
