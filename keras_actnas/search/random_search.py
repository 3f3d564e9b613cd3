"""ActNAS's random search: draw, keep what meets the constraints, keep the best so far (section 3.3.3)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np

from keras_actnas.core import Constraint, InputError, MetricTable, Proposal
from keras_actnas.core.checks import is_whole
from keras_actnas.search.bound_words import check_contradictions
from keras_actnas.search.choices import Choices
from keras_actnas.search.confidence import Confidence
from keras_actnas.search.objective import Objective, Wanted
from keras_actnas.search.rules import Rules

# Draws that are looked at together: enough that NumPy's calls cost little, few enough to stay in the cache.
_BATCH = 4096
# Sites x activations of which a batch is drawn when the network is large.
_CELLS = 1 << 19


def solve_random(
    tables: Mapping[str, MetricTable],
    minimize: Wanted = None,
    constraints: Sequence[Constraint] = (),
    *,
    maximize: Wanted = None,
    rules: Rules | None = None,
    confidence: float | None = None,
    draws: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
) -> Proposal:
    """Returns the best of many random assignments that keep the constraints (ActNAS section 3.3.3).

    Every activation that a site can have is equally likely. The paper gives no stopping rule; here it is a number of
    draws, with which the same input gives the same result, or a time.

    Args:
      tables: Metric -> table, all of the same model.
      minimize: What to make as small as can be, as in `solve_ilp`.
      constraints: Bounds on predicted metrics.
      maximize: What to make as large as can be, in place of `minimize`.
      rules: What the choice must keep to besides.
      confidence: With which probability each constraint must hold, as in `solve_ilp`.
      draws: How many assignments to draw; 100,000 when neither this nor `seconds` is given.
      seconds: How long to draw, s; at least one batch is drawn.
      seed: Of the draws.

    Returns:
      The proposal "random", with what every table predicts; its status is "feasible".

    Raises:
      InputError: As of `solve_ilp`, or no draw keeps the constraints.

    >>> from keras_actnas.core import Assignment, Estimate
    >>> silu = Assignment.uniform(["stem", "head"], "silu")
    >>> delta = np.array([[0, -2.0], [0, -1.0]])
    >>> latency = MetricTable("latency", "ms", silu, ("silu", "relu"), Estimate(10.0), delta, np.zeros((2, 2)))
    >>> best = solve_random({"latency": latency}, "latency", draws=100)
    >>> dict(best.assignment), best.predicted["latency"].value
    ({'stem': 'relu', 'head': 'relu'}, 7.0)
    """
    if draws is None and seconds is None:
        draws = 100_000
    _check_budget(draws, seconds)
    objective, sure = Objective.of(minimize, maximize), Confidence(confidence)
    choices = Choices(tables, [*objective.metrics, *(constraint.metric for constraint in constraints)], rules)
    check_contradictions(constraints, tables)
    search = _RandomSearch(choices, objective, constraints, sure)
    rng, deadline = np.random.default_rng(seed), math.inf if seconds is None else time.monotonic() + seconds
    batch = max(1, min(_BATCH, _CELLS // len(choices.sites)))
    drawn = 0
    while drawn < (draws or math.inf) and (not drawn or time.monotonic() < deadline):
        count = batch if draws is None else min(batch, draws - drawn)
        search.look_at(choices.grid.draw(rng, count))
        drawn += count
    if search.best is None:
        kept = " and ".join(map(str, constraints))
        raise InputError(
            f"Expected constraints that some random assignment keeps. Received: {kept}, which none of {drawn} draws "
            "does. More draws may find one; the ILP (solve_ilp, --method=ilp) finds one if there is any."
        )
    return search.best


class _RandomSearch:
    """The best assignment of all that were looked at."""

    def __init__(
        self, choices: Choices, objective: Objective, constraints: Sequence[Constraint], sure: Confidence
    ) -> None:
        self.best: Proposal | None = None
        self._choices = choices
        self._constraints = constraints
        self._sure = sure
        self._objective = objective.cost({metric: choices.costs(metric) for metric in objective.metrics}).ravel()
        self._cost = math.inf
        self._costs = {metric: choices.costs(metric).ravel() for metric in choices.delta}
        self._first = np.arange(len(choices.grid.usable)) * len(choices.activations)

    def look_at(self, draws: np.ndarray) -> None:
        """Keeps the best of some choices, shape (count, rows), if it is better than all before."""
        cells = draws + self._first
        costs = self._objective[cells].sum(axis=1)
        good = np.flatnonzero(costs < self._cost)
        for constraint in self._constraints:
            good = good[self._holds(constraint, cells[good])]
        # The errors of a whole network take long to add up, so only for those that could be the best.
        for one in good[np.argsort(costs[good], kind="stable")]:
            proposal = self._proposal(draws[one])
            if self._keeps(proposal):
                self.best, self._cost = proposal, float(costs[one])
                return

    def _holds(self, constraint: Constraint, cells: np.ndarray) -> np.ndarray:
        reference = self._choices.tables[constraint.metric].reference_value.value
        room = constraint.bound(reference) - reference - self._costs[constraint.metric][cells].sum(axis=1)
        return (room if constraint.sense == "<=" else -room) >= -1e-9 * max(1.0, abs(reference))

    def _keeps(self, proposal: Proposal) -> bool:
        return all(
            item.holds(
                self._sure.bounding(item, proposal.predicted[item.metric]),
                self._choices.tables[item.metric].reference_value.value,
            )
            for item in self._constraints
        )

    def _proposal(self, columns: np.ndarray) -> Proposal:
        assignment = self._choices.grid.assignment(columns)
        return Proposal("random", assignment, self._choices.predict(assignment), status="feasible")


def _check_budget(draws: int | None, seconds: float | None) -> None:
    if draws is not None and (not is_whole(draws) or draws < 1):
        raise InputError(f"Expected draws to be an integer of at least 1. Received: {draws!r}.")
    if seconds is not None and not seconds > 0:
        raise InputError(f"Expected seconds above 0. Received: {seconds!r}.")
