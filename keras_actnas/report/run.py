"""A run as its folder holds it: what was asked for, what was measured, what was found."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from keras_actnas.core.constraints import Constraint
from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Journal, Measurement
from keras_actnas.core.proposal import Proposal, read_proposals
from keras_actnas.core.rounds import Round
from keras_actnas.core.run_files import IDENTITY, read_identity, read_tables
from keras_actnas.core.table import MetricTable

SCORES: dict[str, dict[str, bool]] = {"nwot": {}}
"""Scores of a run that does not name them; other metrics without a unit count as such, too."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
      path: Its folder.
      identity: What its measurements depend on: model, device, threads, ...
      context: What its proposals came from: objective, constraints, device, units, notes, seconds, ...
      reference: The reference network, measured.
      proposals: The proposals, the best first.
      baselines: Networks with one activation everywhere.
      tables: Metric -> table.
      journal: Every measurement, in the order they were made.
    """

    path: Path
    identity: Mapping[str, Any]
    context: Mapping[str, Any]
    reference: Proposal
    proposals: list[Proposal]
    baselines: list[Proposal]
    tables: dict[str, MetricTable]
    journal: list[Measurement]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Run:
        """Reads a run folder.

        Raises:
          InputError: It is none, its search has not come to an end, or a file in it is damaged.
        """
        folder = Path(path)
        if not (folder / IDENTITY).is_file():
            raise InputError(f"Expected the folder of a run. Received: {path}, which has no {IDENTITY}.")
        identity = read_identity(folder)
        if not (folder / "proposals.json").is_file():
            raise InputError(
                f"Expected a run with proposals. Received: {path}, whose search has not come to an end: start "
                "`keras-actnas search` again, and it continues."
            )
        proposals, context = read_proposals(folder / "proposals.json")
        try:
            reference = Proposal.from_json(context.pop("reference"))
            baselines = [Proposal.from_json(row) for row in context.pop("baselines")]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"Expected proposals that a search verified. Received: {folder / 'proposals.json'} "
                f"({type(error).__name__}: {error})."
            ) from error
        tables = read_tables(folder)
        _check(folder, reference, proposals, tables)
        journal = Journal(folder / "journal.jsonl").measurements
        return cls(folder, identity, context, reference, proposals, baselines, tables, journal)

    @cached_property
    def rounds(self) -> list[Round]:
        """The rounds of a closed loop; none where there was no loop."""
        return [Round.from_json(content) for content in self.context.get("rounds", ())]

    @property
    def best(self) -> Proposal:
        """The best proposal."""
        return self.proposals[0]

    @property
    def networks(self) -> list[Proposal]:
        """The proposals and the baselines."""
        return [*self.proposals, *self.baselines]

    @property
    def model(self) -> str:
        """What the model is called."""
        return str(self.identity.get("model", "model"))

    @property
    def device(self) -> str:
        """What the device is called."""
        return str(self.context.get("device") or self.identity.get("device", "device"))

    @property
    def exact(self) -> bool:
        """Whether the device gives the same values each time."""
        return bool(self.context.get("exact"))

    @property
    def objective(self) -> str:
        """The metric that was minimized or maximized."""
        return str(self.context.get("maximize") or self.context.get("minimize"))

    @cached_property
    def constraints(self) -> list[Constraint]:
        """The bounds that were asked for; without those whose text `Constraint.parse` does not know."""
        return [bound for text in self.context.get("constraints", ()) if (bound := _parsed(str(text)))]

    @cached_property
    def units(self) -> dict[str, str]:
        """Metric -> unit: first the objective, then what has a bound, then the others."""
        known = {**{metric: table.unit for metric, table in self.tables.items()}, **self.context.get("units", {})}
        return {metric: known[metric] for metric in dict.fromkeys([*self.asked, *known]) if metric in known}

    @property
    def asked(self) -> list[str]:
        """The objective, and the metrics that have a bound."""
        return list(dict.fromkeys([self.objective, *(bound.metric for bound in self.constraints)]))

    @property
    def device_metrics(self) -> list[str]:
        """The metrics that the device measures, or that are estimated for it, and that have a table."""
        return [metric for metric in self.units if metric in self.tables and not self.is_score(metric)]

    @property
    def score_metrics(self) -> list[str]:
        """The metrics that are scores of untrained networks, and have a table."""
        return [metric for metric in self.units if metric in self.tables and self.is_score(metric)]

    def is_score(self, metric: str) -> bool:
        """Whether a metric is a score of a network that was not trained, and not a cost on the device."""
        return metric in self.context.get("scores", SCORES) or not self.units.get(metric)

    def is_more_better(self, metric: str) -> bool:
        """Whether more of a metric is better: of a score, unless it says how far the outputs move, say."""
        if not self.is_score(metric):
            return False
        return bool(self.context.get("scores", SCORES).get(metric, {}).get("higher_is_better", True))

    def is_estimated(self, metric: str) -> bool:
        """Whether a metric is a model's estimate of the device, and not measured."""
        table = self.tables.get(metric)
        return metric in self.context.get("estimated", ()) or bool(table and table.context.get("estimated"))

    def found_how(self, metric: str) -> str:
        """Returns what a network's own value of a metric is, as opposed to its prediction."""
        if self.is_score(metric):
            return "computed"
        return "estimated" if self.is_estimated(metric) else "measured"


def _parsed(text: str) -> Constraint | None:
    try:
        return Constraint.parse(text)
    except InputError:
        return None


def _check(folder: Path, reference: Proposal, proposals: list[Proposal], tables: Mapping[str, MetricTable]) -> None:
    if not proposals:
        raise InputError(f"Expected a run with proposals. Received: {folder}, with an empty list of them.")
    if not tables:
        raise InputError(f"Expected metric tables in {folder / 'tables'}. Received: none.")
    for table in tables.values():
        if reference.assignment.swaps(table.reference):
            raise InputError(
                f"Expected tables of the run's own network. Received: {folder}, whose {table.metric} table is of "
                "another."
            )
