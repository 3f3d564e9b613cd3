"""ActNAS's ILP search: the best assignments under budgets that the metric tables predict (ActNAS section 3.3.3)."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Mapping, Sequence

import numpy as np

from keras_actnas.core import Constraint, InputError, MetricTable, Proposal
from keras_actnas.search.choice_program import SOLVERS, Answer, ChoiceProgram
from keras_actnas.search.choices import Choices


class InfeasibleError(InputError):
    """No assignment meets the constraints.

    Attributes:
      closest: Constraint that cannot be met -> the same constraint with the closest bound that can, as an absolute
        value in the metric's unit. When more than one is named, they can be met together.
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
      timed_out: Whether the time ran out before everything was found and proven. When it did not and there are fewer
        proposals than asked for, no more exist.
      seconds: Time the search took.
    """

    proposals: list[Proposal]
    relaxed: dict[Constraint, Constraint]
    timed_out: bool
    seconds: float


def solve_ilp(
    tables: Mapping[str, MetricTable],
    minimize: str | None = None,
    constraints: Sequence[Constraint] = (),
    *,
    maximize: str | None = None,
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
      minimize: The metric to make as small as can be.
      constraints: Bounds on predicted metrics.
      maximize: The metric to make as large as can be, in place of `minimize`.
      top_k: How many proposals to find; fewer come back when no more exist.
      min_distance: In how many sites, at least, every proposal differs from all that are better.
      solver: "highs" or "cbc".
      time_limit: Seconds for the whole search; None for no limit. The first proposal that is not proven is the last.
      on_infeasible: What to do when no assignment keeps all constraints: "raise" `InfeasibleError`, or "relax" them to
        the closest bounds that can be met. Closest is the smallest sum of violations, each in units of the range
        that its metric can take.

    Raises:
      InputError: The tables are of different models, a metric has none, nothing can be chosen at a site, two
        constraints contradict each other, an option is out of its range, or nothing was found in time.
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
    _check_options(minimize, maximize, top_k, min_distance, time_limit, on_infeasible)
    constraints = list(dict.fromkeys(constraints))
    objective = minimize or maximize or ""
    choices = Choices(tables, [objective, *(constraint.metric for constraint in constraints)])
    _check_contradictions(constraints, tables)
    weights = choices.delta[objective] * (-1 if maximize else 1)
    search = _Search(choices, weights, solver, math.inf if time_limit is None else start + time_limit)

    proposals, proven = search.best(constraints, top_k, min_distance)
    relaxed: dict[Constraint, Constraint] = {}
    if proven and not proposals:
        relaxed = search.closest(constraints)
        if on_infeasible == "raise":
            raise InfeasibleError(_explain(relaxed, choices), relaxed)
        proposals, proven = search.best([relaxed.get(item, item) for item in constraints], top_k, min_distance)
    if not proposals:
        raise search.no_answer()
    return ILPResult(proposals, relaxed, timed_out=not proven, seconds=time.monotonic() - start)


@dataclasses.dataclass(frozen=True)
class _Search:
    """One search: what may be chosen, what it costs, and until when (on the monotonic clock, in seconds)."""

    choices: Choices
    weights: np.ndarray
    solver: str
    deadline: float

    def best(self, constraints: Sequence[Constraint], top_k: int, min_distance: int) -> tuple[list[Proposal], bool]:
        """Returns the best proposals, and whether all that was asked for is found or proven not to exist."""
        program = ChoiceProgram(self.choices.usable, self.weights, self.solver)
        for constraint in constraints:
            program.bound(*self._as_limit(constraint))
        proposals: list[Proposal] = []
        while len(proposals) < top_k:
            answer = program.solve(self._remaining())
            if not answer.columns:
                return proposals, answer.outcome == "infeasible"
            proposal = self._proposal(f"ilp-{len(proposals) + 1}", answer)
            # What breaks a bound by less than the solver's tolerance is excluded by itself, without its neighbours.
            kept = not self._broken(constraints, proposal)
            program.exclude(answer.columns, min_distance if kept else 1)
            if kept:
                proposals.append(proposal)
            if answer.outcome != "optimal":
                return proposals, False
        return proposals, True

    def closest(self, constraints: Sequence[Constraint]) -> dict[Constraint, Constraint]:
        """Returns the closest bounds that can be met, for those of the constraints that must give way.

        Minimises the sum of the violations, each in units of its metric's range. With one constraint to give way, that
        is its metric's best under all others.
        """
        program = ChoiceProgram(self.choices.usable, None, self.solver)
        for constraint in constraints:
            program.bound(*self._as_limit(constraint), elastic=self.choices.span(constraint.metric) or 1.0)
        answer = program.solve(self._remaining())
        if not answer.columns:
            raise self.no_answer()
        broken = self._broken(constraints, self._proposal("closest", answer))
        if not broken:
            raise RuntimeError(f"The solver {self.solver!r} says of constraints that can be kept that they cannot.")
        return {item: Constraint(item.metric, item.sense, 0.0, value) for item, value in broken.items()}

    def _broken(self, constraints: Sequence[Constraint], proposal: Proposal) -> dict[Constraint, float]:
        """Returns the constraints that a proposal's predictions break, with the metric's predicted value."""
        tables, values = self.choices.tables, {name: value.value for name, value in proposal.predicted.items()}
        return {
            item: values[item.metric]
            for item in constraints
            if not item.holds(values[item.metric], tables[item.metric].reference_value.value)
        }

    def _as_limit(self, constraint: Constraint) -> tuple[np.ndarray, float]:
        """Returns a constraint as weights and the limit that their sum must not exceed."""
        reference = self.choices.tables[constraint.metric].reference_value.value
        delta, limit = self.choices.delta[constraint.metric], constraint.bound(reference) - reference
        # As much as `Constraint.holds` leaves to rounding.
        slack = 1e-9 * max(1.0, abs(reference))
        return (delta, limit + slack) if constraint.sense == "<=" else (-delta, slack - limit)

    def _proposal(self, name: str, answer: Answer) -> Proposal:
        assignment = self.choices.assignment(answer.columns)
        return Proposal(name, assignment, self.choices.predict(assignment), status=answer.outcome)

    def no_answer(self) -> Exception:
        """Returns what to raise when the solver gave neither an assignment nor a proof that there is none."""
        if math.isinf(self.deadline):
            other = next(name for name in SOLVERS if name != self.solver)
            return RuntimeError(f"The solver {self.solver!r} failed without an answer; {other!r} may have one.")
        return InputError(
            "Expected a time_limit in which the solver finds an assignment. Received: one that is too short. "
            "A longer one, looser constraints or fewer activations help."
        )

    def _remaining(self) -> float | None:
        return None if math.isinf(self.deadline) else self.deadline - time.monotonic()


def _check_options(
    minimize: str | None,
    maximize: str | None,
    top_k: int,
    min_distance: int,
    time_limit: float | None,
    on_infeasible: str,
) -> None:
    if bool(minimize) == bool(maximize):
        raise InputError(f"Expected one metric to minimize or maximize. Received: {minimize!r} and {maximize!r}.")
    for name, value in (("top_k", top_k), ("min_distance", min_distance)):
        if value < 1:
            raise InputError(f"Expected {name} of at least 1. Received: {value}.")
    if time_limit is not None and not time_limit > 0:
        raise InputError(f"Expected time_limit in seconds, above 0. Received: {time_limit}.")
    if on_infeasible not in ("raise", "relax"):
        raise InputError(f"Expected on_infeasible of 'raise' or 'relax'. Received: {on_infeasible!r}.")


def _check_contradictions(constraints: Sequence[Constraint], tables: Mapping[str, MetricTable]) -> None:
    """Raises `InputError` when a metric's lower bound is above its upper bound: no network at all could keep both."""
    for upper, lower in itertools.permutations(constraints, 2):
        reference = tables[upper.metric].reference_value.value
        if (upper.metric, upper.sense, lower.sense) == (lower.metric, "<=", ">=") and not upper.holds(
            lower.bound(reference), reference
        ):
            shown = " and ".join(_in_words(item, tables[item.metric]) for item in (upper, lower))
            raise InputError(f"Expected constraints that do not contradict each other. Received: {shown}.")


def _explain(closest: Mapping[Constraint, Constraint], choices: Choices) -> str:
    received = " and ".join(_in_words(item, choices.tables[item.metric]) for item in closest)
    attainable = " with ".join(_rounded(item, choices) for item in closest.values())
    return (
        f"Expected constraints that some assignment keeps. Received: {received}. "
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
