"""The trainings of one network beside what is known of it, and how a predictor of them is judged."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from candidates import HERE
from correlation import Bootstrap, kendall, partial, spearman
from predictors import Shapes, shares
from trainings import Effects, effects, read_trainings

from keras_actnas.core import InputError

FEWEST = 10
"""Assignments without which no correlation is worth a line."""

COLUMNS = ["Kendall, all", "Spearman, all", "Kendall, mixed", "Kendall, equal latency", "given shares"]
"""What `Study.judge` says of a predictor."""


def network_facts(network: str) -> dict[str, Any]:
    """Returns what `propose.py` has left about a network: "sites", their shapes, and "latency" of each assignment.

    Raises:
      InputError: There is no such network.
    """
    path = HERE / f"network_{network}.json"
    if not path.exists():
        known = sorted(one.stem.removeprefix("network_") for one in HERE.glob("network_*.json"))
        raise InputError(f"Expected --network out of {', '.join(known)}. Received: {network!r}.")
    return json.loads(path.read_text())


@dataclasses.dataclass(frozen=True)
class Subset:
    """Some of the assignments, and which pairs of them count.

    Attributes:
      name: What tables call it.
      rows: Whether each assignment is in it.
      groups: Group of each assignment; pairs count within groups.
    """

    name: str
    rows: np.ndarray
    groups: np.ndarray


class Study:
    """The trainings of one network, with what is known of the network.

    Args:
      network: Its name.
      trainings: File of the trainings.
      metric: What was trained for.
      draws: Of the bootstrap.
      bands: How many bands of latency.

    Raises:
      InputError: There is no such network, or the trainings are not of it, or as `read_trainings`.
    """

    def __init__(self, network: str, trainings: Path, metric: str, draws: int = 1000, bands: int = 4) -> None:
        facts = network_facts(network)
        self.shapes: Shapes = facts["sites"]
        self.latency: Mapping[str, float] = facts["latency"]
        self.trainings = read_trainings(trainings, metric)
        if set(self.trainings.assignments[0]) != set(self.shapes):
            raise InputError(
                f"Expected trainings of {network} (--network). Received: {trainings}, which is of other sites, such as "
                f"{next(iter(self.trainings.assignments[0]))!r}."
            )
        self.effects: Effects = effects(self.trainings.values)
        self._draws = draws
        self._bands = bands

    @functools.cached_property
    def subsets(self) -> list[Subset]:
        """All assignments, those that mix activations, and all within bands of about equal latency."""
        assignments = self.trainings.assignments
        every, one = np.ones(len(assignments), bool), np.zeros(len(assignments), int)
        mixed = np.array([len(assignment.counts()) > 1 for assignment in assignments])
        latency = np.array([self.latency.get(name, np.nan) for name in self.trainings.names])
        known = ~np.isnan(latency)
        edges = np.unique(np.quantile(latency[known], np.linspace(0, 1, self._bands + 1)[1:-1]))
        return [
            Subset("all", every, one),
            Subset("mixed", mixed, one),
            Subset("equal latency", known, np.searchsorted(edges, latency)),
        ]

    @functools.cached_property
    def bootstraps(self) -> list[Bootstrap]:
        """For each subset, the draws that all intervals come from."""
        values = self.trainings.values - self.effects.seeds
        return [Bootstrap(values[subset.rows], subset.groups[subset.rows], self._draws) for subset in self.subsets]

    def at(self, rows: np.ndarray) -> Effects:
        """Returns the effects of some of the assignments; the noise is that of all."""
        return dataclasses.replace(self.effects, values=self.effects.values[rows], counts=self.effects.counts[rows])

    def judge(self, scores: np.ndarray) -> list[str]:
        """Returns the cells of a row: correlations of a predictor with the effects; NaN where it says nothing."""
        scores = np.where(np.isnan(scores), np.nanmean(scores), scores)
        cells = []
        for subset, bootstrap in zip(self.subsets, self.bootstraps, strict=True):
            predicted, values, groups = (
                scores[subset.rows],
                self.effects.values[subset.rows],
                subset.groups[subset.rows],
            )
            cells.append(_with_interval(kendall(predicted, values, groups), bootstrap.kendall(predicted)))
            if subset.name == "all":
                cells.append(_with_interval(spearman(predicted, values), bootstrap.spearman(predicted)))
        given = shares(self.trainings.assignments, self.shapes)["share"]
        return [*cells, f"{partial(scores, self.effects.values, given):+.2f}"]


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{value:+.2f} [{interval[0]:+.2f}, {interval[1]:+.2f}]"
