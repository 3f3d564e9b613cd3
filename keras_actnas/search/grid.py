"""The grid of choices under rules: sites that must agree are one row, and what may not be chosen is left out."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np

from keras_actnas.core import Assignment, InputError, closest
from keras_actnas.search.rules import Rules


class Grid:
    """What may be chosen: one activation for each row, which is one site or a group of sites that must agree.

    Args:
      sites: Names of the sites.
      activations: Names of the activations: the columns.
      usable: Which activation each site can have, shape (sites, activations).
      rules: What the choice must keep to.

    Attributes:
      sites: As given.
      activations: As given.
      owner: The row of every site, shape (sites,).
      sizes: How many sites each row is, shape (rows,).
      usable: What may be chosen under the rules, shape (rows, activations).
      max_activations: How many different activations may be chosen; None for any number.

    Raises:
      InputError: A rule names a site that there is not, pins what a site cannot have, or leaves nothing to choose.

    >>> rules = Rules({"stem": "relu"}, groups=[("neck", "head")])
    >>> grid = Grid(("stem", "neck", "head"), ("silu", "relu"), np.ones((3, 2), bool), rules)
    >>> grid.usable.tolist(), grid.sizes.tolist(), dict(grid.assignment((1, 0)))
    ([[False, True], [True, True]], [1, 2], {'stem': 'relu', 'neck': 'silu', 'head': 'silu'})
    """

    def __init__(
        self, sites: Sequence[str], activations: Sequence[str], usable: np.ndarray, rules: Rules | None = None
    ) -> None:
        self.sites, self.activations = tuple(sites), tuple(activations)
        rules = rules or Rules()
        _check_named(rules, self.sites)
        allowed = usable & self._allowed(rules)
        for site, name in rules.pinned.items():
            if not allowed[self.sites.index(site)].any():
                raise InputError(
                    f"Expected pinned activations that the site can have. Received: {name!r} at {site!r}."
                    f"{closest(name, self._names(usable[self.sites.index(site)]))}"
                )
        self.owner = self._rows(rules)
        self.sizes = np.bincount(self.owner)
        self.usable = np.ones((len(self.sizes), len(self.activations)), bool)
        np.logical_and.at(self.usable, self.owner, allowed)
        self.max_activations = rules.max_activations
        self._check_rows(rules)
        if not self.palettes:
            raise InputError(
                f"Expected max_activations that every site can keep to. Received: {self.max_activations}, but no "
                "so few activations serve all sites."
            )

    def fold(self, values: np.ndarray) -> np.ndarray:
        """Returns the sums over each row's sites, shape (rows, activations), of values (sites, activations)."""
        folded = np.zeros((len(self.sizes), values.shape[1]), values.dtype)
        np.add.at(folded, self.owner, values)
        return folded

    def assignment(self, columns: Sequence[int] | np.ndarray) -> Assignment:
        """Returns the assignment that takes column `columns[i]` in row `i`."""
        names = (self.activations[columns[row]] for row in self.owner)
        return Assignment(zip(self.sites, names, strict=True))

    def columns(self, assignment: Assignment) -> tuple[int, ...] | None:
        """Returns the column of every row in an assignment; None when it does not keep to the rules."""
        chosen: dict[int, str] = {}
        for site, row in zip(self.sites, self.owner.tolist(), strict=True):
            if chosen.setdefault(row, assignment[site]) != assignment[site]:
                return None
        if any(name not in self.activations for name in chosen.values()):
            return None
        columns = tuple(self.activations.index(chosen[row]) for row in range(len(self.sizes)))
        return columns if self.usable[np.arange(len(columns)), columns].all() and self.few_enough(columns) else None

    def few_enough(self, columns: Sequence[int]) -> bool:
        """Whether a choice has at most `max_activations` different activations."""
        return self.max_activations is None or len(set(columns)) <= self.max_activations

    @functools.cached_property
    def palettes(self) -> list[np.ndarray]:
        """The largest sets of activations that may occur together, as masks over the columns that serve every row."""
        columns = range(len(self.activations))
        if self.max_activations is None or self.max_activations >= len(columns):
            return [np.ones(len(columns), bool)]
        sets = itertools.combinations(columns, self.max_activations)
        masks = [np.isin(columns, chosen) for chosen in sets]
        return [mask for mask in masks if (self.usable & mask).any(axis=1).all()]

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Returns `count` random choices that keep to the rules, shape (count, rows).

        Every usable activation of a row is equally likely; all choices of one call are from one random palette.
        """
        cells = self.usable & self.palettes[rng.integers(len(self.palettes))]
        order = np.argsort(~cells, axis=1, kind="stable")
        which = rng.integers(0, cells.sum(axis=1), size=(count, len(cells)))
        return order[np.arange(len(cells)), which]

    def _allowed(self, rules: Rules) -> np.ndarray:
        return np.array(
            [
                [rules.pinned.get(site, name) == name and not rules.forbids(site, name) for name in self.activations]
                for site in self.sites
            ]
        )

    def _rows(self, rules: Rules) -> np.ndarray:
        """Returns the row of every site; rows are in the order of their first sites."""
        leader = {site: site for site in self.sites}
        for group in rules.merged_groups():
            leader.update(dict.fromkeys(group, min(group, key=self.sites.index)))
        order = {site: row for row, site in enumerate(dict.fromkeys(leader.values()))}
        return np.array([order[leader[site]] for site in self.sites])

    def _check_rows(self, rules: Rules) -> None:
        for row in np.flatnonzero(~self.usable.any(axis=1)):
            sites = [site for site, owner in zip(self.sites, self.owner, strict=True) if owner == row]
            pins = [f"{rules.pinned[site]} at {site!r}" for site in sites if site in rules.pinned]
            more = f" (pinned: {', '.join(pins)})" if pins else ""
            what = f"the site {sites[0]!r}" if len(sites) == 1 else f"the group {', '.join(sites)}"
            raise InputError(f"Expected rules that leave an activation to choose. Received: none for {what}{more}.")

    def _names(self, usable: np.ndarray) -> list[str]:
        return [name for name, can in zip(self.activations, usable, strict=True) if can]


def check_rules(rules: Rules, reference: Assignment, activations: Sequence[str]) -> None:
    """Raises `InputError` when a network cannot keep rules with these activations and its own."""
    names = tuple(dict.fromkeys([*activations, *reference.values()]))
    Grid(tuple(reference), names, np.ones((len(reference), len(names)), bool), rules)


def _check_named(rules: Rules, sites: Sequence[str]) -> None:
    for site, how in rules.named_sites().items():
        if site not in sites:
            raise InputError(f"Expected a {how} site that the model has. Received: {site!r}.{closest(site, sites)}")
