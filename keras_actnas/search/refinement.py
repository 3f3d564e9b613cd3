"""Proposals that keep the bounds on the score as computed, not only as a table predicts it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Mapping, Sequence

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.constraints import Constraint
from keras_actnas.core.proposal import Proposal
from keras_actnas.core.table import MetricTable
from keras_actnas.search.confidence import Confidence
from keras_actnas.search.ilp import InfeasibleError
from keras_actnas.search.settings import SearchSettings

Tables = dict[str, MetricTable]

_HALVINGS = 10
"""How often a margin is halved that leaves no assignment within the bounds."""


class Refinement:
    """Solves, scores what was proposed, fits the score's table again, and solves again.

    A solver goes where the tables err in its favour. A score is cheap to compute, so proposals are scored, and, if they
    miss a bound on the score, solved for again with that bound tightened: by what they missed it by, or as much of it
    as can be kept, then by as little as will do, until `rounds` are over. All proposals of all calls stay in the
    choice. Of a noisy score the table is asked, once it has been fitted to the proposals as well: no margin is needed
    then, since the table that is solved with next is the one that judged.

    Args:
      solve: Takes tables and constraints; returns proposals.
      score: Takes networks; returns the score's table, fitted to those of the design and to these.
      missed: Takes networks; returns, for every constraint, by how much their computed scores miss it at most.
      settings: What is searched for.
    """

    def __init__(
        self,
        solve: Callable[[Tables, Sequence[Constraint]], list[Proposal]],
        score: Callable[[Sequence[Assignment]], MetricTable],
        missed: Callable[[Sequence[Assignment]], list[float]],
        settings: SearchSettings,
    ) -> None:
        self._solve = solve
        self._score = score
        self._missed = missed
        self._settings = settings
        self._found: dict[Assignment, Proposal] = {}

    def run(self, tables: Tables) -> tuple[list[Proposal], Tables]:
        """Returns the best proposals under these tables, and the tables with the score's fitted again.

        Raises:
          InfeasibleError: No assignment keeps the constraints.
        """
        settings = self._settings
        found: dict[Assignment, Proposal] = {}
        search = MarginSearch()
        margins: list[float] = [0.0] * len(settings.constraints)
        for _ in range(settings.rounds):
            try:
                proposals = self._solve_within(tables, margins, search)
            except InfeasibleError:
                if not found:
                    raise
                break  # Only the tightened bounds cannot be kept.
            found = {**{proposal.assignment: proposal for proposal in proposals}, **found}
            tables = {**tables, settings.kind.name: self._score([*self._found, *found])}
            missed = self._missed([proposal.assignment for proposal in proposals])
            if not any(margins):
                if not any(missed):
                    break
                if settings.kind.noisy:
                    continue
                margins = missed
            search.report(kept=not any(missed))
        self._found = {**self._found, **found}
        kept = {assignment for assignment in self._found if self._keeps(assignment, tables)}
        return choose(list(self._found.values()), kept, tables, settings), tables

    def _solve_within(
        self, tables: Tables, margins: Sequence[float], search: MarginSearch, halvings: int = _HALVINGS
    ) -> list[Proposal]:
        """Returns proposals within bounds tightened by the share of the margins to try, or by as much as can be kept.

        Raises:
          InfeasibleError: No assignment keeps the bounds, or only without any margin.
        """
        bounds = zip(self._settings.constraints, margins, strict=True)
        try:
            return self._solve(tables, [bound.tightened(search.share * by) for bound, by in bounds])
        except InfeasibleError:
            if not any(margins) or not halvings:
                raise
        search.report(kept=True)  # More than enough.
        return self._solve_within(tables, margins, search, halvings - 1)

    def _keeps(self, assignment: Assignment, tables: Tables) -> bool:
        """Returns whether a network keeps the bounds on the score as computed, and the others as predicted."""
        if any(self._missed([assignment])):
            return False
        sure = Confidence(self._settings.confidence)
        for bound in self._settings.constraints:
            if bound.metric != self._settings.kind.name:
                table = tables[bound.metric]
                value = sure.bounding(bound, table.predict(assignment))
                if not bound.holds(value, table.reference_value.value):
                    return False
        return True


class MarginSearch:
    """Finds how much of a margin a bound needs: none, all of it, more; then by bisection, as little as will do.

    Attributes:
      share: The share of the margin to try next.
    """

    def __init__(self) -> None:
        self.share = 0.0
        self._too_little = 0.0
        self._enough: float | None = None

    def report(self, kept: bool) -> None:
        """Takes note of whether the share was enough, and chooses the next."""
        if kept:
            self._enough = self.share
        else:
            self._too_little = self.share
        if self._enough is None:
            self.share = 2 * self.share or 1.0
        else:
            self.share = (self._too_little + self._enough) / 2


def choose(
    found: Sequence[Proposal], kept: Container[Assignment], tables: Mapping[str, MetricTable], settings: SearchSettings
) -> list[Proposal]:
    """Returns the `top_k` best of the proposals of several rounds, `min_distance` apart.

    Args:
      found: The proposals of all rounds.
      kept: The assignments among them that keep the bounds; these come first.
      tables: The last round's tables, which order them by the objective.
      settings: What was asked for.
    """
    goal = settings.goal

    def key(row: Proposal) -> tuple[bool, float]:
        values = {metric: tables[metric].predict(row.assignment).value for metric in goal.metrics}
        return row.assignment not in kept, goal.cost(values)

    order = sorted(found, key=key)
    chosen: list[Proposal] = []
    for row in order:
        if all(len(row.assignment.swaps(other.assignment)) >= settings.min_distance for other in chosen):
            chosen.append(dataclasses.replace(row, name=f"ilp-{len(chosen) + 1}"))
    return chosen[: settings.top_k]
