"""Local search on the real objective, where measuring a network is cheap: an estimator of an NPU, or a score."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from keras_actnas.core import Assignment, Constraint, Estimate, InputError, Proposal
from keras_actnas.core.activations import CANDIDATES, parse_activations
from keras_actnas.core.checks import is_whole
from keras_actnas.core.errors import closest
from keras_actnas.search.grid import Grid
from keras_actnas.search.objective import Objective, Wanted
from keras_actnas.search.rules import Rules

Measure = Callable[[Assignment], Mapping[str, float]]
"""Metric -> value of a network, the same each time."""

# How many rows a restart changes, as a share of all: enough to leave the last optimum, few enough to keep its worth.
_KICK = 0.2
# After so many restarts in a row that met no new network, there is hardly any left.
_IDLE = 30


def solve_local(
    measure: Measure,
    reference: Assignment,
    minimize: Wanted = None,
    constraints: Sequence[Constraint] = (),
    *,
    maximize: Wanted = None,
    activations: Sequence[str] = CANDIDATES,
    rules: Rules | None = None,
    starts: Sequence[Assignment] = (),
    evaluations: int = 1000,
    seed: int = 0,
) -> Proposal:
    """Returns the best network that a local search finds by measuring networks as they are.

    Single swaps are tried in random order and taken when they help; when none does, pairs of swaps are; then the best
    network so far is changed at random in a fifth of its sites, and so on until the budget is spent. A network that
    breaks constraints is better the less it breaks them (in shares of the bounds), and worse than any that keeps them.
    The paper has no such search: it trusts the sums of its tables (section 3.3.3).

    Args:
      measure: What tells a network's metrics. It is called once for each network.
      reference: The reference network, which bounds may be relative to. It is measured first.
      minimize: What to make as small as can be, as in `solve_ilp`.
      constraints: Bounds on measured metrics.
      maximize: What to make as large as can be, in place of `minimize`.
      activations: Candidates for every site, besides the activation that the reference has there.
      rules: What the choice must keep to besides.
      starts: Where to start from, such as a solver's proposals; each that keeps the rules is measured. Without any, the
        search starts from the reference, or where that breaks the rules, from a random network.
      evaluations: How many networks are measured, at most.
      seed: Of everything random.

    Returns:
      The proposal "local" with its measured metrics; its status is "feasible".

    Raises:
      InputError: A metric is not measured or not finite, no network that was measured keeps the constraints, a rule
        cannot be kept, or an option is out of its range.

    >>> silu = Assignment.uniform(["stem", "head"], "silu")
    >>> def measure(assignment):
    ...     return {"latency": 10.0 - 2 * (assignment["stem"] == "relu") - (assignment["head"] == "elu")}
    >>> best = solve_local(measure, silu, "latency", activations=["relu", "elu"], evaluations=50)
    >>> dict(best.assignment), best.measured["latency"].value
    ({'stem': 'relu', 'head': 'elu'}, 7.0)
    """
    if not is_whole(evaluations) or evaluations < 2:
        raise InputError(f"Expected evaluations to be an integer of at least 2. Received: {evaluations!r}.")
    candidates = parse_activations(tuple(activations))
    names = tuple(dict.fromkeys([*candidates, *reference.values()]))
    usable = np.array([[name in candidates or name == own for name in names] for own in reference.values()])
    grid = Grid(tuple(reference), names, usable, rules)
    objective = Objective.of(minimize, maximize)
    search = _LocalSearch(grid, _Judge(measure, reference, objective, constraints, evaluations), seed)
    search.run([*starts, *([] if starts else [reference])])
    return search.best()


@dataclasses.dataclass(order=True, frozen=True)
class _Worth:
    """How good a network is: the less, the better, and violations count first."""

    violation: float
    cost: float


class _BudgetSpentError(Exception):
    """No network may be measured any more."""


class _Judge:
    """Measures each network once, and says what it is worth."""

    def __init__(
        self,
        measure: Measure,
        reference: Assignment,
        objective: Objective,
        constraints: Sequence[Constraint],
        evaluations: int,
    ) -> None:
        self._measure = measure
        self._objective = objective
        self._constraints = constraints
        self._left = evaluations
        self.measured: dict[Assignment, Mapping[str, float]] = {}
        self._reference: Mapping[str, float] = self._values(reference)

    def worth(self, assignment: Assignment) -> _Worth:
        """Returns what a network is worth; raises `_BudgetSpentError` when it may not be measured any more."""
        values = self._values(assignment)
        violation = 0.0
        for item in self._constraints:
            value, own = values[item.metric], self._reference[item.metric]
            if not item.holds(value, own):
                violation += item.shortfall(value, own) / max(abs(item.bound(own)), 1e-9)
        return _Worth(violation, self._objective.cost(values))

    def _values(self, assignment: Assignment) -> Mapping[str, float]:
        if assignment not in self.measured:
            if not self._left:
                raise _BudgetSpentError
            self._left -= 1
            values = self._measure(assignment)
            for metric in (*self._objective.metrics, *(item.metric for item in self._constraints)):
                if metric not in values:
                    known = closest(metric, values)
                    raise InputError(f"Expected a metric that is measured. Received: {metric!r}.{known}")
                if not np.isfinite(values[metric]):
                    raise InputError(
                        f"Expected finite values of {metric}. Received: {values[metric]} of {assignment!r}."
                    )
            self.measured[assignment] = values
        return self.measured[assignment]


class _LocalSearch:
    """Climbs from network to network, and starts again near the best."""

    def __init__(self, grid: Grid, judge: _Judge, seed: int) -> None:
        self._grid = grid
        self._judge = judge
        self._rng = np.random.default_rng(seed)
        self._best: tuple[_Worth, tuple[int, ...]] | None = None

    def run(self, starts: Sequence[Assignment]) -> None:
        """Searches until the budget is spent, or nothing new is left."""
        known = [columns for columns in map(self._grid.columns, starts) if columns is not None]
        try:
            for columns in known or [self._random()]:
                self._climb(columns)
            idle = 0
            while idle < _IDLE:
                before = len(self._judge.measured)
                self._climb(self._random() if idle else self._kicked())
                idle = idle + 1 if len(self._judge.measured) == before else 0
        except _BudgetSpentError:
            pass

    def best(self) -> Proposal:
        """Returns the best network that was measured; raises `InputError` when none keeps the constraints."""
        if self._best is None or self._best[0].violation:
            count = len(self._judge.measured)
            raise InputError(
                f"Expected constraints that some network near the starts keeps. Received: some that none of "
                f"the {count} measured networks keeps. More evaluations, other starts or looser constraints help."
            )
        assignment = self._grid.assignment(self._best[1])
        measured = {metric: Estimate(float(value)) for metric, value in self._judge.measured[assignment].items()}
        return Proposal("local", assignment, measured=measured, status="feasible")

    def _climb(self, columns: tuple[int, ...]) -> None:
        worth = self._worth(columns)
        while True:
            for other in itertools.chain(self._swaps(columns, 1), self._swaps(columns, 2)):
                better = self._worth(other)
                if better < worth:
                    columns, worth = other, better
                    break
            else:
                return

    def _worth(self, columns: tuple[int, ...]) -> _Worth:
        worth = self._judge.worth(self._grid.assignment(columns))
        if self._best is None or worth < self._best[0]:
            self._best = worth, columns
        return worth

    def _swaps(self, columns: tuple[int, ...], count: int) -> Iterator[tuple[int, ...]]:
        """Yields all choices that differ in `count` rows and keep the rules, in random order of the rows."""
        rows = list(itertools.combinations(range(len(columns)), count))
        for number in self._rng.permutation(len(rows)):
            chosen = rows[number]
            others = [
                [column for column in np.flatnonzero(self._grid.usable[row]).tolist() if column != columns[row]]
                for row in chosen
            ]
            for swapped in itertools.product(*others):
                changed = list(columns)
                for row, column in zip(chosen, swapped, strict=True):
                    changed[row] = column
                if self._grid.few_enough(changed):
                    yield tuple(changed)

    def _random(self) -> tuple[int, ...]:
        return tuple(self._grid.draw(self._rng, 1)[0].tolist())

    def _kicked(self) -> tuple[int, ...]:
        """Returns the best choice with some rows drawn anew; a random one where that breaks the rules."""
        drawn = self._random()
        if self._best is None:
            return drawn
        anew = self._rng.random(len(drawn)) < max(_KICK, 2 / len(drawn))
        mixed = tuple(np.where(anew, drawn, self._best[1]).tolist())
        return mixed if self._grid.few_enough(mixed) else drawn
