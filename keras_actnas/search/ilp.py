"""ActNAS's ILP search: the best assignments under budgets that the metric tables predict (ActNAS section 3.3.3)."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence

from keras_actnas.core import Constraint, InputError, MetricTable, Proposal
from keras_actnas.search.bound_words import check_contradictions, explain
from keras_actnas.search.choices import Choices
from keras_actnas.search.confidence import Confidence
from keras_actnas.search.ilp_search import ILPSearch
from keras_actnas.search.objective import Objective, Wanted
from keras_actnas.search.rules import Rules


class InfeasibleError(InputError):
    """No assignment meets the constraints.

    Attributes:
      closest: Constraint that cannot be met -> the same constraint with the closest bound that can, as an absolute
        value in the metric's unit. When more than one is named, they can be met together. With a confidence they are
        the closest that were found, which is not always proven.
    """

    def __init__(self, message: str, closest: Mapping[Constraint, Constraint]) -> None:
        super().__init__(message)
        self.closest = dict(closest)


@dataclasses.dataclass(frozen=True)
class ILPResult:
    """What the ILP search found.

    Attributes:
      proposals: The best first, named "ilp-1", "ilp-2", ...; each with what every table predicts. Their status is
        "optimal" when it is proven that none is better apart from those before it (and those closer to them than
        `min_distance`), else "feasible".
      relaxed: Constraint that could not be met -> the one that was used in its place; empty when all could be met.
      timed_out: Whether the time, or with a confidence the effort, ran out before everything was found and proven. When
        it did not and there are fewer proposals than asked for, no more exist.
      seconds: Time the search took.
    """

    proposals: list[Proposal]
    relaxed: dict[Constraint, Constraint]
    timed_out: bool
    seconds: float


def solve_ilp(
    tables: Mapping[str, MetricTable],
    minimize: Wanted = None,
    constraints: Sequence[Constraint] = (),
    *,
    maximize: Wanted = None,
    rules: Rules | None = None,
    confidence: float | None = None,
    top_k: int = 1,
    min_distance: int = 1,
    solver: str = "highs",
    time_limit: float | None = None,
    on_infeasible: str = "raise",
) -> ILPResult:
    """Returns the assignments that are predicted to be the best while keeping all constraints (ActNAS section 3.3.3).

    Tables that are neither the objective's nor a constraint's do not restrict the choice; they only predict. The same
    input gives the same result, unless the time runs out.

    Args:
      tables: Metric -> table, all of the same model.
      minimize: What to make as small as can be: a metric, or a weighted sum of metrics, each in its own unit, as
        "latency+0.5*memory" or {"latency": 1, "memory": 0.5}.
      constraints: Bounds on predicted metrics.
      maximize: What to make as large as can be, in place of `minimize`.
      rules: Pinned and forbidden activations, sites that must agree, and how many different activations there may be.
      confidence: With which probability each constraint must hold under the tables' errors, of at least 0.5; None for
        the predicted values alone. Errors are taken as normal, with the tables' covariance and residual: a bound holds
        with probability 0.95 when the prediction keeps 1.645 standard errors away from it. Every proposal keeps this
        condition as `MetricTable.predict` states it, without approximation, and "optimal" is proven of it. Where errors
        are large and depend on each other the proof may take too long; the proposal is then "feasible", and the last:
        no other activation at one site is better. The error of the reference's own value does not count.
      top_k: How many proposals to find; fewer come back when no more exist.
      min_distance: In how many sites, at least, every proposal differs from all that are better.
      solver: "highs" or "cbc".
      time_limit: Seconds for the whole search; None for no limit. The first proposal that is not proven is the last.
      on_infeasible: What to do when no assignment keeps all constraints: "raise" `InfeasibleError`, or "relax" them to
        the closest bounds that can be met. Closest is the smallest sum of violations, each in units of the range
        that its metric can take.

    Raises:
      InputError: The tables are of different models, a metric has none, or no standard errors that a confidence needs,
        nothing can be chosen at a site, the rules cannot be kept, two constraints contradict each other, an option is
        out of its range, or nothing was found in time.
      InfeasibleError: No assignment keeps all constraints.
      MissingDependencyError: PuLP or the solver is not installed.

    >>> import numpy as np
    >>> from keras_actnas.core import Assignment, Estimate
    >>> silu = Assignment.uniform(["stem", "head"], "silu")
    >>> def table(metric, unit, value, delta):
    ...     delta = np.array(delta)
    ...     return MetricTable(metric, unit, silu, ("silu", "relu"), Estimate(value), delta, np.zeros_like(delta))
    >>> tables = {
    ...     "latency": table("latency", "ms", 10.0, [[0, -2], [0, -1]]),
    ...     "nwot": table("nwot", "", 80.0, [[0, -3], [0, -1]]),
    ... }
    >>> best = solve_ilp(tables, "latency", [Constraint.parse("nwot>=reference-1.5")]).proposals[0]
    >>> dict(best.assignment), best.predicted["latency"].value, best.status
    ({'stem': 'silu', 'head': 'relu'}, 9.0, 'optimal')
    """
    start = time.monotonic()
    _check_options(top_k, min_distance, time_limit, on_infeasible)
    constraints = list(dict.fromkeys(constraints))
    objective, sure = Objective.of(minimize, maximize), Confidence(confidence)
    choices = Choices(tables, [*objective.metrics, *(constraint.metric for constraint in constraints)], rules)
    check_contradictions(constraints, tables)
    weights = choices.grid.fold(objective.cost(choices.delta))
    search = ILPSearch(choices, weights, solver, math.inf if time_limit is None else start + time_limit, sure)

    proposals, proven = search.best(constraints, top_k, min_distance)
    relaxed: dict[Constraint, Constraint] = {}
    if proven and not proposals:
        relaxed = search.closest(constraints)
        if on_infeasible == "raise":
            raise InfeasibleError(explain(relaxed, choices, confidence), relaxed)
        proposals, proven = search.best([relaxed.get(item, item) for item in constraints], top_k, min_distance)
    if not proposals:
        raise search.no_answer()
    return ILPResult(proposals, relaxed, timed_out=not proven, seconds=time.monotonic() - start)


def _check_options(top_k: int, min_distance: int, time_limit: float | None, on_infeasible: str) -> None:
    for name, value in (("top_k", top_k), ("min_distance", min_distance)):
        if value < 1:
            raise InputError(f"Expected {name} of at least 1. Received: {value}.")
    if time_limit is not None and not time_limit > 0:
        raise InputError(f"Expected time_limit in seconds, above 0. Received: {time_limit}.")
    if on_infeasible not in ("raise", "relax"):
        raise InputError(f"Expected on_infeasible of 'raise' or 'relax'. Received: {on_infeasible!r}.")
