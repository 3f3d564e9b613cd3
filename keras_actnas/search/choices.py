"""Choices: several metric tables laid over one grid of sites and activations, as a solver needs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from keras_actnas.core import Assignment, Estimate, InputError, MetricTable, closest
from keras_actnas.search.grid import Grid
from keras_actnas.search.rules import Rules


class Choices:
    """What may be chosen at every site, and what each choice costs in every metric that a search uses.

    Args:
      tables: Metric -> table. All must be of the same network: the same sites with the same reference activations.
        Their rows and columns may come in any order.
      used: The metrics that a search looks at. A cell can be chosen when each of their tables has a value for it.
      rules: What the choice must keep to besides.

    Attributes:
      tables: As given.
      sites: Names of the sites: the rows.
      activations: Names of the activations that any used table has: the columns.
      delta: Used metric -> change against the reference, shape (sites, activations), in the metric's unit; zero where
        nothing can be chosen.
      usable: Which cells have a value in every used table, shape (sites, activations).
      grid: What can be chosen under the rules.

    Raises:
      InputError: A used metric has no table or no reference value, the tables are of different models, nothing can
        be chosen at a site, or the rules cannot be kept.
    """

    def __init__(self, tables: Mapping[str, MetricTable], used: Iterable[str], rules: Rules | None = None) -> None:
        used = tuple(dict.fromkeys(used))
        for metric in used:
            if metric not in tables:
                raise InputError(f"Expected a metric that has a table. Received: {metric!r}.{closest(metric, tables)}")
            if not np.isfinite(tables[metric].reference_value.value):
                raise InputError(f"Expected a {metric} table with the reference's value. Received: one without.")
        _check_same_model(tables)
        self.tables = tables
        self.sites = tables[used[0]].sites
        self.activations = tuple(dict.fromkeys(name for metric in used for name in tables[metric].activations))
        deltas = {metric: self._aligned(tables[metric]) for metric in used}
        self.usable = np.all([np.isfinite(delta) for delta in deltas.values()], axis=0)
        self.delta = {metric: np.where(self.usable, delta, 0.0) for metric, delta in deltas.items()}
        for site, row in zip(self.sites, self.usable, strict=True):
            if not row.any():
                raise InputError(
                    "Expected at least one activation at every site that each used table has a value for "
                    f"({', '.join(used)}). Received: none at {site!r}."
                )
        self.grid = Grid(self.sites, self.activations, self.usable, rules)

    def _aligned(self, table: MetricTable) -> np.ndarray:
        """Returns the table's deltas on this grid, NaN where the table lacks a row or a column."""
        delta = np.full((len(self.sites), len(self.activations)), np.nan)
        rows = [self.sites.index(site) for site in table.sites]
        columns = [self.activations.index(name) for name in table.activations]
        delta[np.ix_(rows, columns)] = table.delta
        return delta

    def predict(self, assignment: Assignment) -> dict[str, Estimate]:
        """Returns what every table predicts of an assignment; a table that lacks a value for it is left out."""
        predictions = {metric: _predict(table, assignment) for metric, table in self.tables.items()}
        return {metric: value for metric, value in predictions.items() if value is not None}

    def costs(self, metric: str) -> np.ndarray:
        """Returns what each choice of the grid changes in a used metric, shape (rows, activations), in its unit."""
        return self.grid.fold(self.delta[metric])

    def span(self, metric: str) -> float:
        """Returns how far apart the metric's smallest and largest predictions are, in its unit."""
        delta, usable = self.costs(metric), self.grid.usable
        highest = np.where(usable, delta, -np.inf).max(axis=1)
        lowest = np.where(usable, delta, np.inf).min(axis=1)
        return float((highest - lowest).sum())


def _predict(table: MetricTable, assignment: Assignment) -> Estimate | None:
    try:
        return table.predict(assignment)
    except InputError:
        return None


def _check_same_model(tables: Mapping[str, MetricTable]) -> None:
    (first, expected), *others = tables.items()
    for name, table in others:
        reference = table.reference
        if reference == expected.reference:
            continue
        lacking = [site for site in expected.reference if site not in reference]
        surplus = [site for site in reference if site not in expected.reference]
        if lacking:
            difference = f"{name} lacks the site {lacking[0]!r} of {first}"
        elif surplus:
            difference = f"{name} has the site {surplus[0]!r}, which {first} lacks"
        else:
            site, activation = next(iter(reference.swaps(expected.reference).items()))
            difference = (
                f"at {site!r} the reference is {activation!r} in {name}, {expected.reference[site]!r} in {first}"
            )
        raise InputError(f"Expected tables of one model. Received: tables of different models: {difference}.")
