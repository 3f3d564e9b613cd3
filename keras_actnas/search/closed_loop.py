"""The closed loop: proposals are built and measured, and the tables learn from it, until both agree."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.proposal import Proposal
from keras_actnas.core.rounds import Agreement, Round
from keras_actnas.core.table import Estimate, MetricTable
from keras_actnas.search import readings
from keras_actnas.search.ilp import InfeasibleError
from keras_actnas.search.measuring import Measured, Measuring, Say
from keras_actnas.search.settings import SearchSettings
from keras_actnas.search.stopwatch import Stopwatch

Tables = dict[str, MetricTable]


class ClosedLoop:
    """Runs rounds: solve, build and measure the proposals, fit the tables to what was measured as well.

    The paper trusts the sums of its tables (ActNAS section 3.3.3). A solver picks what they err about in its favour, so
    proposals come out worse than predicted; measuring them is what the tables lack.

    Args:
      measuring: The device's side of the search.
      refine: Takes tables; returns proposals, and the tables with the score's fitted again.
      settings: What is searched for; there are `rounds` at the most, and their measurements take `minutes` at the most,
        unless the fewest runs of each take longer.
      watch: Times what is done.
      say: Receives a line of text for each round.
    """

    def __init__(
        self,
        measuring: Measuring,
        refine: Callable[[Tables], tuple[list[Proposal], Tables]],
        settings: SearchSettings,
        *,
        watch: Stopwatch,
        say: Say,
    ) -> None:
        self._measuring = measuring
        self._refine = refine
        self._settings = settings
        self._watch = watch
        self._say = say

    def run(self, tables: Tables, made: Measured) -> tuple[list[Proposal], Tables, list[Round]]:
        """Runs rounds until predictions and measurements agree, or there have been `rounds`.

        Args:
          tables: The tables of device and score.
          made: What the device's tables were fitted to.

        Returns:
          The proposals of the last round, predicted by the tables that come next; these tables, fitted to all
          that was measured; and the rounds.
        """
        rounds: list[Round] = []
        proposals: list[Proposal] = []
        while len(rounds) < self._settings.rounds:
            try:
                proposals, tables = self._refine(tables)
            except InfeasibleError as error:
                if not rounds:
                    raise
                self._say(f"Round {len(rounds) + 1}: what was measured leaves no solution; {error}")
                break
            found = self._measure(proposals, tables)
            rounds.append(self._judge(proposals, tables, found))
            self._say(f"Round {len(rounds)}: {rounds[-1].describe()}.")
            made = {**made, **found}
            tables = {**tables, **self._measuring.tables(made)}
            if rounds[-1].agrees:
                break
        else:
            proposals, tables = self._refine(tables)
        return [_predicted(row, tables) for row in proposals], tables, rounds

    def _measure(self, proposals: Sequence[Proposal], tables: Tables) -> Measured:
        networks = [row.assignment for row in proposals]
        main = next(iter(self._measuring.device.metrics))
        with self._watch("loop"):
            most = len(networks) * self._settings.rounds  # All rounds share the time.
            runs = self._measuring.affordable(most, "proposal", tables[main].reference_value.value)
            found = self._measuring.measure(networks, runs, "round")
        self._measuring.report_failures(found)
        return found

    def _judge(self, proposals: Sequence[Proposal], tables: Tables, found: Measured) -> Round:
        """Compares proposals with their measurements; those that the device cannot run are left out."""
        exact = self._measuring.device.exact
        values: dict[str, dict[Assignment, Estimate]] = {}
        for metric in self._measuring.device.metrics:
            own = tables[metric].reference_value
            lines = readings.of_metric(found, metric)
            values[metric] = {one.assignment: readings.estimate(one, own, exact) for one in lines}
        rows = tuple(
            dataclasses.replace(
                _predicted(row, tables),
                measured={metric: values[metric][row.assignment] for metric in values},
            )
            for row in proposals
            if all(row.assignment in of_metric for of_metric in values.values())
        )
        if not rows:
            raise InputError("Expected proposals that the device can run. Received: none that it can.")
        agreement = {
            metric: Agreement.of(rows, metric, tables[metric].reference_value.value, tables[metric].unit)
            for metric in values
        }
        return Round(rows, agreement)


def _predicted(row: Proposal, tables: Mapping[str, MetricTable]) -> Proposal:
    return dataclasses.replace(row, predicted={name: table.predict(row.assignment) for name, table in tables.items()})
