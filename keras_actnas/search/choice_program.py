"""The integer linear program behind the ILP search: one choice a site, linear bounds, exclusion of known answers."""

from __future__ import annotations

import dataclasses
import functools
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_actnas.core import InputError, MissingDependencyError
from keras_actnas.core.printing import printing_to

SOLVERS = ("highs", "cbc")

# Of rows and of an objective that are scaled to coefficients of at most 1: relative to the largest delta.
_TOLERANCE = 1e-9
# Cells a row, on average, that the first attempt at the best solution looks at.
_CORE_WIDTH = 1.3
# How much further than the last solution needed the first attempt at the next one looks.
_CORE_GROWTH = 1.25


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a solver says.

    Attributes:
      outcome: "optimal" (proven), "feasible" (found, not proven), "infeasible" (proven) or "unknown" (out of time).
      columns: The chosen column of every site; empty when there is none.
    """

    outcome: str
    columns: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Bound:
    """Sum of the chosen cells of `weights`, and of the set marks' weights, <= `limit`, scaled.

    An elastic one may be broken at a price.
    """

    weights: np.ndarray
    limit: float
    elastic: bool
    marks: Mapping[int, float]


class ChoiceProgram:
    """Minimises a sum over the chosen cells of a grid, exactly one in each row (ActNAS section 3.3.3).

    Without elastic bounds most of the cells are left out first: those whose reduced cost, from the linear relaxation,
    shows that no answer as good as the one found can hold them. The result is exact: when the answer found is not good
    enough for that proof, the cells it needs are added and the program is solved again (the "core" of a knapsack
    problem, Balas and Zemel 1980).

    Args:
      usable: Which cells can be chosen, shape (sites, activations).
      weights: The objective, same shape, in any unit. None: the sum of the violations of all elastic bounds.
      solver: "highs" (in this process) or "cbc" (a program that PuLP brings along).
      sizes: How many sites each row is, shape (rows,); one each when None. Distances count sites.

    Attributes:
      weights: The objective, scaled so that the largest is 1; None for the sum of the violations.

    Raises:
      InputError: The solver is unknown or not available on this machine.
    """

    def __init__(
        self, usable: np.ndarray, weights: np.ndarray | None, solver: str, sizes: np.ndarray | None = None
    ) -> None:
        self._pulp = _import_pulp()
        _check_solver(solver, self._pulp)
        self._solver = solver
        self._usable = usable
        self._sizes = np.ones(len(usable), int) if sizes is None else sizes
        self.weights = None if weights is None else weights / _scale(weights)
        self._bounds: list[_Bound] = []
        self._marks: list[np.ndarray] = []
        self._excluded: list[tuple[Sequence[int], int]] = []
        self._relaxation: tuple[float, np.ndarray] | None = None
        self._reach = 0.0

    def mark(self, cells: np.ndarray) -> int:
        """Returns the number of a new mark, which is 1 when any of the `cells` is chosen, and may be 0 otherwise."""
        self._marks.append(cells)
        return len(self._marks) - 1

    def bound(
        self,
        weights: np.ndarray,
        limit: float,
        elastic: float | None = None,
        marks: Mapping[int, float] | None = None,
    ) -> None:
        """Keeps the sum of the chosen cells of `weights` at or below `limit`.

        Args:
          weights: Shape (sites, activations), in any unit.
          limit: In the same unit.
          elastic: When given, the bound may be broken, and breaking it by this much counts as a violation of 1.
          marks: Mark -> what it adds to the sum when it is 1, in the same unit; not negative.
        """
        scale = elastic or _scale(weights)
        scaled = {mark: weight / scale for mark, weight in (marks or {}).items()}
        self._bounds.append(_Bound(weights / scale, limit / scale, elastic is not None, scaled))

    def exclude(self, columns: Sequence[int], distance: int) -> None:
        """Excludes every choice that differs from `columns` in fewer than `distance` sites (a no-good cut)."""
        self._excluded.append((columns, distance))

    def solve(self, seconds: float | None = None) -> Answer:
        """Returns the best choice that was found within `seconds`, and what is proven about it."""
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        if self.weights is None:
            return self._solve(self._usable, deadline)
        self._relaxation = self._relaxation or self._relax(self.weights, deadline)
        if self._relaxation is None:
            return Answer("infeasible")
        lower, reduced = self._relaxation
        costs = np.sort(reduced[self._usable])
        reach = max(self._reach, costs[min(int(_CORE_WIDTH * len(reduced)), len(costs) - 1)])
        first = self._solve(self._usable & (reduced <= reach), deadline)
        if first.outcome in ("feasible", "unknown"):
            return first
        # Whatever holds a cell that was left out costs more than lower + reach.
        needed = self.cost(first) - lower
        if needed <= reach or reach >= costs[-1]:
            self._reach = _CORE_GROWTH * needed
            return first
        second = self._solve(self._usable & (reduced <= needed + _TOLERANCE), deadline)
        if second.outcome == "optimal" or not first.columns:
            self._reach = _CORE_GROWTH * (self.cost(second) - lower)
            return second
        return Answer("feasible", min(first, second, key=self.cost).columns)

    def keeps(self, columns: Sequence[int]) -> bool:
        """Returns whether a choice keeps all bounds that are not elastic, and is not excluded."""
        kept = all(bound.elastic or self._excess(bound, columns) <= _TOLERANCE for bound in self._bounds)
        away = (int(self._sizes[np.not_equal(known, columns)].sum()) - distance for known, distance in self._excluded)
        return kept and min(away, default=0) >= 0

    def cost(self, answer: Answer) -> float:
        """Returns the scaled objective of an answer; infinity for one without columns."""
        if not answer.columns:
            return math.inf
        if self.weights is None:
            return sum(max(0.0, self._excess(bound, answer.columns)) for bound in self._bounds if bound.elastic)
        return _chosen_sum(self.weights, answer.columns)

    def _excess(self, bound: _Bound, columns: Sequence[int]) -> float:
        marked = sum(weight for mark, weight in bound.marks.items() if _chosen_sum(self._marks[mark], columns))
        return _chosen_sum(bound.weights, columns) + marked - bound.limit

    def _relax(self, weights: np.ndarray, deadline: float) -> tuple[float, np.ndarray] | None:
        """Returns a lower bound of the cost and every cell's reduced cost; None when even fractions keep no bounds.

        They follow from the linear relaxation's prices. Both hold for any prices, as Lagrangian bounds, so how exactly
        the relaxation was solved does not matter; nor does it that they leave out the marks, which only add to sums.
        """
        problem = _Problem(self._pulp, self._usable, weights, self._bounds, self._marks)
        if problem.solve(_make_solver(self._solver, self._pulp, _left(deadline), mip=False)).outcome == "infeasible":
            return None
        priced, lower = weights, 0.0
        for bound, price in zip(self._bounds, problem.prices(), strict=True):
            priced = priced + price * bound.weights
            lower -= price * bound.limit
        cheapest = np.where(self._usable, priced, np.inf).min(axis=1)
        return lower + float(cheapest.sum()), priced - cheapest[:, np.newaxis]

    def _solve(self, cells: np.ndarray, deadline: float) -> Answer:
        if time.monotonic() >= deadline:
            return Answer("unknown")
        problem = _Problem(self._pulp, cells, self.weights, self._bounds, self._marks)
        for known, distance in self._excluded:
            problem.exclude(known, distance, self._sizes)
        return problem.solve(_make_solver(self._solver, self._pulp, _left(deadline)))


class _Problem:
    """One PuLP problem over some cells of the grid."""

    def __init__(
        self,
        pulp: Any,
        cells: np.ndarray,
        weights: np.ndarray | None,
        bounds: Sequence[_Bound],
        marks: Sequence[np.ndarray],
    ) -> None:
        self._pulp = pulp
        self._problem = problem = pulp.LpProblem("activations", pulp.LpMinimize)
        self._cells = [(int(row), int(column)) for row, column in np.argwhere(cells)]
        self._variables = {
            cell: problem.add_variable(f"x_{cell[0]}_{cell[1]}", 0, 1, "Integer") for cell in self._cells
        }
        self._rows: list[list[int]] = [[] for _ in range(len(cells))]
        for row, column in self._cells:
            self._rows[row].append(column)
        for row, columns in enumerate(self._rows):
            problem += self._count((row, column) for column in columns) == 1
        flags = [self._flag(f"mark_{number}", cells) for number, cells in enumerate(marks)]
        violations = []
        self._bounds = []
        for number, bound in enumerate(bounds):
            total = self._weighted(bound.weights)
            total += pulp.LpAffineExpression([(flags[mark], weight) for mark, weight in bound.marks.items()])
            if bound.elastic:
                violations.append((problem.add_variable(f"violation_{number}", 0), 1.0))
                total -= violations[-1][0]
            self._bounds.append(total <= bound.limit)
            problem += self._bounds[-1]
        problem.setObjective(pulp.LpAffineExpression(violations) if weights is None else self._weighted(weights))

    def exclude(self, known: Sequence[int], distance: int, sizes: np.ndarray) -> None:
        """Excludes what differs from `known` in fewer than `distance` sites, of which each row is `sizes`."""
        same = [
            (self._variables[cell], float(size))
            for cell, size in zip(enumerate(known), sizes.tolist(), strict=True)
            if cell in self._variables
        ]
        self._problem += self._pulp.LpAffineExpression(same) <= int(sizes.sum()) - distance

    def solve(self, solver: Any) -> Answer:
        """Returns what the solver finds."""
        self._problem.solve(solver)
        if self._problem.status == self._pulp.LpStatusInfeasible:
            return Answer("infeasible")
        columns = self._chosen()
        if not columns:
            return Answer("unknown")
        # On a time-out PuLP's `status` says "Optimal"; only `sol_status` tells a proof from a find.
        proven = self._problem.sol_status == self._pulp.LpSolutionOptimal
        return Answer("optimal" if proven else "feasible", columns)

    def prices(self) -> list[float]:
        """Returns the price of every bound after a solution without integrality; 0 where there is none."""
        return [abs(bound.pi) if bound.pi and math.isfinite(bound.pi) else 0.0 for bound in self._bounds]

    def _flag(self, name: str, cells: np.ndarray) -> Any:
        flag = self._problem.add_variable(name, 0, 1, "Integer")
        for cell in self._cells:
            if cells[cell]:
                self._problem += self._variables[cell] <= flag
        return flag

    def _chosen(self) -> tuple[int, ...]:
        """Returns the chosen column of every row, or nothing when the solver left no whole choice behind."""
        result = []
        for row, columns in enumerate(self._rows):
            values = [self._variables[row, column].varValue or 0.0 for column in columns]
            best = int(np.argmax(values))
            if not math.isclose(values[best], 1.0, abs_tol=1e-5) or not math.isclose(sum(values), 1.0, abs_tol=1e-4):
                return ()
            result.append(columns[best])
        return tuple(result)

    def _count(self, cells: Any) -> Any:
        known = (self._variables.get(cell) for cell in cells)
        return self._pulp.LpAffineExpression([(variable, 1.0) for variable in known if variable is not None])

    def _weighted(self, weights: np.ndarray) -> Any:
        values = weights.tolist()
        return self._pulp.LpAffineExpression(
            [(variable, values[row][column]) for (row, column), variable in self._variables.items()]
        )


def _chosen_sum(values: np.ndarray, columns: Sequence[int]) -> float:
    return float(values[np.arange(len(columns)), columns].sum())


def _left(deadline: float) -> float | None:
    return None if math.isinf(deadline) else max(deadline - time.monotonic(), 0.001)


def _scale(weights: np.ndarray) -> float:
    return float(np.abs(weights).max()) or 1.0


def _import_pulp() -> Any:
    try:
        import pulp
    except ImportError as error:
        raise MissingDependencyError("pulp", "search", "The ILP search") from error
    return pulp


def _check_solver(solver: str, pulp: Any) -> None:
    if solver not in SOLVERS:
        raise InputError(f"Expected a solver of {', '.join(SOLVERS)}. Received: {solver!r}.")
    if solver == "highs" and not pulp.HiGHS().available():
        raise MissingDependencyError("highspy", "search", "The ILP search")
    if solver == "cbc" and not _make_cbc(pulp, None, mip=True).available():
        raise InputError(
            "Expected a solver that this machine has. Received: 'cbc', for which neither PuLP nor the system has a "
            "program here; 'highs' serves everywhere."
        )


def _make_solver(solver: str, pulp: Any, seconds: float | None, mip: bool = True) -> Any:
    if solver == "cbc":
        return _make_cbc(pulp, seconds, mip)
    _let_highs_greet()
    return pulp.HiGHS(
        mip=mip,
        msg=False,
        timeLimit=seconds,
        gapRel=0.0,
        gapAbs=_TOLERANCE,
        # One thread. `threads=1` would say so too, but fails in a process where HiGHS has run with another number.
        parallel="off",
        random_seed=0,
        mip_feasibility_tolerance=_TOLERANCE,
        primal_feasibility_tolerance=_TOLERANCE,
        # These pay where solutions are hard to find. Here most of the time goes into proofs: without restarts it
        # halves, and without sub-problems it falls by another third (benchmarks/ilp.py).
        mip_allow_restart=False,
        mip_heuristic_run_rins=False,
        mip_heuristic_run_rens=False,
        mip_heuristic_run_root_reduced_cost=False,
    )


@functools.cache
def _let_highs_greet() -> None:
    """Makes the first solver of the process: from HiGHS 1.16 on it prints a greeting, before anything can be set."""
    import highspy

    with tempfile.TemporaryFile() as printed, printing_to(printed.fileno()):
        highspy.Highs()


def _make_cbc(pulp: Any, seconds: float | None, mip: bool) -> Any:
    options = [f"primalTolerance {_TOLERANCE}", f"integerTolerance {_TOLERANCE}", f"increment {_TOLERANCE}"]
    solver = pulp.COIN_CMD(mip=mip, msg=False, timeLimit=seconds, gapRel=0.0, gapAbs=_TOLERANCE, options=options)
    if not solver.available():
        solver.path = getattr(pulp.apis.coin_api, "pulp_cbc_path", solver.path)
    return solver
