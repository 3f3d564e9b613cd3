"""One ILP search: constraints on predicted metrics over a grid of choices, and the best proposals under them."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Sequence

import numpy as np

from keras_actnas.core import Constraint, InputError, Proposal
from keras_actnas.search.choice_program import SOLVERS, Answer, ChoiceProgram
from keras_actnas.search.choices import Choices
from keras_actnas.search.confidence import Confidence
from keras_actnas.search.risk import RiskBound, RiskProgram
from keras_actnas.search.variance import Variance


@dataclasses.dataclass(frozen=True)
class ILPSearch:
    """What may be chosen, what it costs, how sure the constraints have to be, and until when.

    Attributes:
      choices: The grid; its used metrics are those of the objective and of every constraint.
      weights: What each cell of the grid costs, shape (rows, activations).
      solver: "highs" or "cbc".
      deadline: On the monotonic clock, s; infinity for none.
      confidence: Of every constraint.
    """

    choices: Choices
    weights: np.ndarray
    solver: str
    deadline: float = math.inf
    confidence: Confidence = Confidence()

    def best(
        self,
        constraints: Sequence[Constraint],
        top_k: int = 1,
        min_distance: int = 1,
        certain: Sequence[Constraint] = (),
    ) -> tuple[list[Proposal], bool]:
        """Returns the best proposals, and whether all that was asked for is found or proven not to exist.

        Args:
          constraints: What the proposals keep, with the confidence.
          top_k: How many proposals.
          min_distance: In how many sites they differ.
          certain: Constraints that only the predictions have to keep.
        """
        program = self._program(constraints, elastic=False, certain=certain)
        proposals: list[Proposal] = []
        while len(proposals) < top_k:
            answer = program.solve(self._remaining())
            if not answer.columns:
                return proposals, answer.outcome == "infeasible"
            proposal = self._proposal(f"ilp-{len(proposals) + 1}", answer)
            # What breaks a bound by less than the solver's tolerance is excluded by itself, without its neighbours.
            kept = not (self._broken(constraints, proposal) or self._broken(certain, proposal, Confidence()))
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
        answer = self._program(constraints, elastic=True).solve(self._remaining())
        if not answer.columns:
            raise self.no_answer()
        broken = self._broken(constraints, self._proposal("closest", answer))
        if not broken:
            raise RuntimeError(f"The solver {self.solver!r} says of constraints that can be kept that they cannot.")
        return {item: Constraint(item.metric, item.sense, 0.0, value) for item, value in broken.items()}

    def no_answer(self) -> Exception:
        """Returns what to raise when the solver gave neither an assignment nor a proof that there is none."""
        if math.isinf(self.deadline):
            other = next(name for name in SOLVERS if name != self.solver)
            return RuntimeError(f"The solver {self.solver!r} failed without an answer; {other!r} may have one.")
        return InputError(
            "Expected a time_limit in which the solver finds an assignment. Received: one that is too short. "
            "A longer one, looser constraints or fewer activations help."
        )

    def _program(
        self, constraints: Sequence[Constraint], elastic: bool, certain: Sequence[Constraint] = ()
    ) -> ChoiceProgram | RiskProgram:
        if not self.confidence.quantile or not constraints:
            return self._plain_program([*constraints, *certain], elastic)
        risks = [
            RiskBound(
                *self._as_limit(constraint),
                self.confidence.quantile,
                self._variances[constraint.metric],
                self._elastic(constraint) if elastic else None,
            )
            for constraint in constraints
        ]
        grid, reference = self.choices.grid, next(iter(self.choices.tables.values())).reference
        make = functools.partial(self._plain_program, certain, elastic)
        return RiskProgram(make, grid.usable, risks, grid.columns(reference))

    def _plain_program(self, constraints: Sequence[Constraint], elastic: bool) -> ChoiceProgram:
        grid = self.choices.grid
        program = ChoiceProgram(grid.usable, None if elastic else self.weights, self.solver, grid.sizes)
        for constraint in constraints:
            program.bound(*self._as_limit(constraint), elastic=self._elastic(constraint) if elastic else None)
        if grid.max_activations is not None:
            columns = np.eye(len(grid.activations), dtype=bool)
            marks = [program.mark(grid.usable & column) for column in columns]
            program.bound(np.zeros(grid.usable.shape), grid.max_activations, marks=dict.fromkeys(marks, 1.0))
        return program

    @functools.cached_property
    def _variances(self) -> dict[str, Variance]:
        return {metric: Variance(self.choices, metric) for metric in self.choices.delta}

    def _elastic(self, constraint: Constraint) -> float:
        return self.choices.span(constraint.metric) or 1.0

    def _broken(
        self, constraints: Sequence[Constraint], proposal: Proposal, confidence: Confidence | None = None
    ) -> dict[Constraint, float]:
        """Returns the constraints that a proposal breaks, with the value that the metric does not miss."""
        tables, sure = self.choices.tables, confidence or self.confidence
        values = {item: sure.bounding(item, proposal.predicted[item.metric]) for item in constraints}
        return {
            item: value
            for item, value in values.items()
            if not item.holds(value, tables[item.metric].reference_value.value)
        }

    def _as_limit(self, constraint: Constraint) -> tuple[np.ndarray, float]:
        """Returns a constraint as weights and the limit that their sum must not exceed."""
        reference = self.choices.tables[constraint.metric].reference_value.value
        delta, limit = self.choices.costs(constraint.metric), constraint.bound(reference) - reference
        # As much as `Constraint.holds` leaves to rounding.
        slack = 1e-9 * max(1.0, abs(reference))
        return (delta, limit + slack) if constraint.sense == "<=" else (-delta, slack - limit)

    def _proposal(self, name: str, answer: Answer) -> Proposal:
        assignment = self.choices.grid.assignment(answer.columns)
        return Proposal(name, assignment, self.choices.predict(assignment), status=answer.outcome)

    def _remaining(self) -> float | None:
        return None if math.isinf(self.deadline) else self.deadline - time.monotonic()
