"""Constraints that hold with a given probability under the tables' errors, in an integer linear program."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from keras_actnas.search.choice_program import Answer, ChoiceProgram
from keras_actnas.search.variance import Variance

# Of an interval of standard errors, and of a limit: relative to their size.
_TOLERANCE = 1e-10
# How often bounds may be refined for one answer before the best known one is returned without a proof.
_EFFORT = 60
# How often the margin may be raised in the search for a first answer.
_RAISES = 20


@dataclasses.dataclass(frozen=True)
class RiskBound:
    """Sum of the chosen cells of `weights` + `quantile` standard errors <= `limit`.

    Attributes:
      weights: Shape (rows, activations), in the metric's unit.
      limit: In the metric's unit.
      quantile: How many standard errors are kept away from the limit; above 0.
      variance: Of the metric, over the same grid.
      elastic: When given, the bound may be broken, and breaking it by this much counts as a violation of 1.
    """

    weights: np.ndarray
    limit: float
    quantile: float
    variance: Variance
    elastic: float | None = None

    def value(self, columns: tuple[int, ...]) -> float:
        """Returns the sum of a choice, with the standard errors that are added."""
        return self._mean(columns) + self.quantile * self.error(columns)

    def after_swaps(self, columns: tuple[int, ...]) -> np.ndarray:
        """Returns the values of the choices that have another cell in one row, shape (rows, activations)."""
        own = self.weights[np.arange(len(columns)), columns][:, np.newaxis]
        mean = self._mean(columns) - own + self.weights
        return np.asarray(mean + self.quantile * np.sqrt(np.maximum(self.variance.after_swaps(columns), 0.0)))

    def error(self, columns: tuple[int, ...]) -> float:
        """Returns the standard error of a choice, in the metric's unit."""
        return math.sqrt(max(self.variance.at(columns), 0.0))

    def _mean(self, columns: tuple[int, ...]) -> float:
        return float(self.weights[np.arange(len(columns)), columns].sum())


@dataclasses.dataclass
class _Part:
    """A part of the search: for each risk the interval of standard errors, and the best choice known for it."""

    intervals: list[tuple[float, float]]
    program: ChoiceProgram
    marks: list[int]
    cost: float = -math.inf
    answer: Answer | None = None
    version: int = -1


class RiskProgram:
    """A `ChoiceProgram` with risk bounds, solved to a proven optimum by linear programs (branch and bound).

    The variance v of a choice is a sum over cells plus a convex quadratic form, of which tangents are lower bounds. The
    standard error sqrt(v) is concave in v, so between two errors s0 and s1 its chord (v + s0 s1) / (s0 + s1) is at or
    below it: a linear bound that every choice with an error in [s0, s1] keeps if it keeps the risk bound. The best
    choice of such a program is the answer when it keeps the risk bound itself. Otherwise the interval is split at its
    standard error, where both chords are exact, a tangent is added, and the parts are solved, the most promising first.

    Args:
      make: Makes the program without the risk bounds.
      usable: Which cells can be chosen, shape (rows, activations).
      risks: The risk bounds.
      start: A choice that may keep all bounds: where to look for one when nothing is proven in time.
    """

    def __init__(
        self,
        make: Callable[[], ChoiceProgram],
        usable: np.ndarray,
        risks: Sequence[RiskBound],
        start: tuple[int, ...] | None = None,
    ) -> None:
        self._make = make
        self._usable = usable
        self._risks = risks
        self._start = start
        self._tangents = [[risk.variance.tangent(None)] for risk in risks]
        self._excluded: list[tuple[tuple[int, ...], int]] = []
        self._refined: set[tuple[int, tuple[int, ...]]] = set()
        self._version = 0
        self._plain = make()
        self._parts = [self._part([(0.0, math.sqrt(risk.variance.largest(usable)) or 1.0) for risk in risks])]

    def exclude(self, columns: tuple[int, ...], distance: int) -> None:
        """Excludes every choice that differs from `columns` in fewer than `distance` sites."""
        self._excluded.append((columns, distance))
        self._version += 1
        self._plain.exclude(columns, distance)
        for part in self._parts:
            part.program.exclude(columns, distance)

    def solve(self, seconds: float | None = None) -> Answer:
        """Returns the best choice, and what is proven about it.

        It is "feasible" when the proof would take longer than `seconds` or more than `_EFFORT` refinements; then it
        keeps all risk bounds, and no other cell in one row is better, but a better one may exist.
        """
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        known = last = Answer("unknown")
        for _ in range(_EFFORT):
            part = self._most_promising(deadline)
            if part is None:
                return Answer("infeasible")
            assert part.answer is not None
            last = part.answer
            if part.version != self._version:
                break
            broken = self._inexact(part, part.answer.columns)
            if broken is None:
                return part.answer
            if not known.columns:
                known = self._margin_answer(part.answer.columns, deadline)
            known = min(known, part.answer, key=self._true_cost)
            if self._true_cost(known) <= part.cost + _TOLERANCE:
                return Answer("optimal", known.columns)
            self._refine(part, broken)
        return self._unproven(last, known)

    def _most_promising(self, deadline: float) -> _Part | None:
        """Returns the part with the best answer, all others being worse; None when nothing is left.

        Its version is an old one when the time ran out.
        """
        while self._parts:
            part = min(self._parts, key=lambda one: one.cost)
            if part.version == self._version:
                return part
            part.answer = part.program.solve(_left(deadline))
            if part.answer.outcome == "infeasible":
                self._parts.remove(part)
            elif part.answer.outcome == "optimal":
                part.cost, part.version = part.program.cost(part.answer), self._version
            else:
                return part
        return None

    def _margin_answer(self, columns: tuple[int, ...], deadline: float) -> Answer:
        """Returns a choice that keeps the risk bounds, found with margins that are raised until they are enough.

        Not every choice whose error is below its margin is looked at, so it need not be the best.
        """
        margins = [0.0] * len(self._risks)
        for _ in range(_RAISES):
            margins = [
                max(margin, risk.quantile * risk.error(columns))
                for margin, risk in zip(margins, self._risks, strict=True)
            ]
            program = self._make()
            for risk, margin in zip(self._risks, margins, strict=True):
                program.bound(risk.weights, risk.limit - margin, risk.elastic)
            for excluded in self._excluded:
                program.exclude(*excluded)
            answer = program.solve(_left(deadline))
            columns = answer.columns
            if not columns:
                break
            if math.isfinite(self._true_cost(answer)):
                return answer
        return Answer("unknown")

    def _part(self, intervals: list[tuple[float, float]]) -> _Part:
        program = self._make()
        marks = [program.mark(risk.variance.moved) if risk.variance.residual else -1 for risk in self._risks]
        part = _Part(intervals, program, marks)
        for number, tangents in enumerate(self._tangents):
            for tangent in tangents:
                self._bound(part, number, tangent)
        for columns, distance in self._excluded:
            program.exclude(columns, distance)
        return part

    def _bound(self, part: _Part, number: int, tangent: tuple[np.ndarray, float]) -> None:
        risk, (low, high), (weights, constant) = self._risks[number], part.intervals[number], tangent
        slope = risk.quantile / (low + high)
        marks = {part.marks[number]: slope * risk.variance.residual} if risk.variance.residual else None
        part.program.bound(
            risk.weights + slope * (risk.variance.linear + weights),
            risk.limit - slope * (low * high + constant),
            risk.elastic,
            marks,
        )

    def _inexact(self, part: _Part, columns: tuple[int, ...]) -> int | None:
        """Returns the risk that a choice breaks by more than the part's linear bounds say; None when there is none."""
        for number, risk in enumerate(self._risks):
            if risk.elastic and (number, columns) in self._refined:
                continue  # As exact as rounding lets it be.
            low, high = part.intervals[number]
            rows = np.arange(len(columns))
            moved = risk.variance.residual if risk.variance.moved[rows, columns].any() else 0.0
            linear = float(risk.variance.linear[rows, columns].sum()) + moved
            tangents = (float(weights[rows, columns].sum()) + more for weights, more in self._tangents[number])
            error = (linear + max(tangents) + low * high) / (low + high)
            value = risk.value(columns)
            said = value + risk.quantile * (error - risk.error(columns))
            if value > max(risk.limit, said) + _TOLERANCE * max(1.0, abs(risk.limit)):
                return number
        return None

    def _refine(self, part: _Part, number: int) -> None:
        """Makes the linear bounds of a risk exact at a part's answer."""
        assert part.answer is not None
        columns, risk = part.answer.columns, self._risks[number]
        error, (low, high) = risk.error(columns), part.intervals[number]
        if (number, columns) in self._refined:
            # Broken by no more than rounding, or the linear bounds would say so.
            self.exclude(columns, 1)
            return
        self._refined.add((number, columns))
        self._tangents[number].append(risk.variance.tangent(columns))
        self._version += 1
        split = low * (1 + _TOLERANCE) < error < high * (1 - _TOLERANCE)
        if split:
            self._parts.remove(part)
        for other in self._parts:
            self._bound(other, number, self._tangents[number][-1])
        if split:
            for interval in ((low, error), (error, high)):
                child = self._part([*part.intervals[:number], interval, *part.intervals[number + 1 :]])
                child.cost = part.cost
                self._parts.append(child)

    def _true_cost(self, answer: Answer) -> float:
        """Returns the scaled objective of an answer; infinity for one that breaks a risk bound or has no columns."""
        violations = 0.0
        for risk in self._risks if answer.columns else ():
            excess = risk.value(answer.columns) - risk.limit
            if excess > 0 and not risk.elastic:
                return math.inf
            violations += max(0.0, excess) / (risk.elastic or 1.0)
        elastic = answer.columns and any(risk.elastic for risk in self._risks)
        return violations if elastic else self._plain.cost(answer)

    def _unproven(self, last: Answer, known: Answer) -> Answer:
        """Returns the better of two answers, or of what is found by single swaps from there or the start; no proof."""
        found = [known, last, *([Answer("feasible", self._start)] if self._start else [])]
        found = [one for one in found if math.isfinite(self._true_cost(one)) and self._plain.keeps(one.columns)]
        if self._plain.weights is not None:
            found = [Answer("feasible", self._descended(one.columns, self._plain.weights)) for one in found]
        best = min(found, key=self._true_cost, default=Answer("unknown"))
        return Answer("feasible", best.columns) if best.columns else best

    def _descended(self, columns: tuple[int, ...], weights: np.ndarray) -> tuple[int, ...]:
        """Returns what single swaps make of a choice that keeps all bounds; those first that gain most for the risk."""
        rows = np.arange(len(columns))
        while True:
            gain = weights[rows, columns][:, np.newaxis] - weights
            better, used = self._usable & (gain > _TOLERANCE), np.full(gain.shape, _TOLERANCE)
            for risk in self._risks:
                after = risk.after_swaps(columns)
                better &= after <= risk.limit
                used += np.maximum(after - risk.value(columns), 0.0) / (float(np.abs(risk.weights).max()) or 1.0)
            cells = np.argwhere(better)
            for row, column in cells[np.argsort(-(gain / used)[better], kind="stable")].tolist():
                swapped = (*columns[:row], column, *columns[row + 1 :])
                if self._plain.keeps(swapped):
                    columns = swapped
                    break
            else:
                return columns


def _left(deadline: float) -> float | None:
    return None if math.isinf(deadline) else deadline - time.monotonic()
