"""How uncertain a table's prediction is, as a function of the choice: a sum over cells and a convex quadratic form."""

from __future__ import annotations

import numpy as np

from keras_actnas.core import InputError, MetricTable
from keras_actnas.search.choices import Choices


class Variance:
    """Square of the standard error that `MetricTable.predict` gives, over the choices of a grid.

    Of each row exactly one cell is chosen, so x^2 = x, and as much of the covariance as can be is a plain sum over the
    chosen cells: C = D + R with D a share of C's diagonal, the largest that leaves R positive semidefinite. Errors that
    are independent have no R at all.

    Args:
      choices: The grid.
      metric: One of its used metrics.

    Attributes:
      linear: D and whatever else is a sum over cells, shape (rows, activations), in the metric's unit squared.
      residual: Variance of what does not add up, unit squared: counts once any cell of `moved` is chosen.
      moved: Cells that change the metric, shape (rows, activations).

    Raises:
      InputError: The error of a cell that can be chosen is not known.
    """

    def __init__(self, choices: Choices, metric: str) -> None:
        grid, table = choices.grid, choices.tables[metric]
        cells = _cells(table, choices)
        _check_known(table, choices, cells)
        self.residual = float(table.residual) ** 2
        self.moved = grid.fold((choices.delta[metric] != 0).astype(int)) > 0
        self._shape = grid.usable.shape
        self._quadratic: np.ndarray | None = None
        if table.covariance is None:
            errors = np.where(choices.usable, table.standard_error.ravel()[cells], 0.0)
            self.linear = grid.fold(errors**2)
        else:
            self._split(_folded(table.covariance, cells, choices))

    def _split(self, covariance: np.ndarray) -> None:
        diagonal = np.diag(covariance)
        scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        used = np.flatnonzero(diagonal > 0)
        correlation = (covariance / np.outer(scale, scale))[np.ix_(used, used)]
        # A covariance that was rounded may have an eigenvalue below 0: then the sum takes what R has too much.
        share = float(np.linalg.eigvalsh(correlation)[0]) if len(used) else 1.0
        self.linear = (share * diagonal).reshape(self._shape)
        self._quadratic = covariance - share * np.diag(diagonal)

    def at(self, columns: tuple[int, ...]) -> float:
        """Returns the variance of a choice."""
        rows = np.arange(len(columns))
        moved = self.residual if self.moved[rows, columns].any() else 0.0
        return float(self.linear[rows, columns].sum()) + self._quadratic_at(columns) + moved

    def after_swaps(self, columns: tuple[int, ...]) -> np.ndarray:
        """Returns the variances of the choices that have another cell in one row, shape (rows, activations)."""
        rows = np.arange(len(columns))
        chosen = self.moved[rows, columns]
        moved = self.moved | (chosen.sum() > chosen)[:, np.newaxis]
        linear = self.linear[rows, columns]
        variances = self.linear + (linear.sum() - linear)[:, np.newaxis] + self.residual * moved
        if self._quadratic is None:
            return variances
        # (x + d)' R (x + d) = x' R x + 2 d' R x + d' R d, where d takes one cell in and another out.
        flat, own = self._flat(columns), np.diag(self._quadratic).reshape(self._shape)
        slope = self._quadratic[:, flat].sum(axis=1).reshape(self._shape)
        both = np.array([self._quadratic[cell].reshape(self._shape)[row] for row, cell in enumerate(flat)])
        change = 2 * (slope - slope[rows, columns][:, np.newaxis])
        return variances + self._quadratic_at(columns) + change + own + own[rows, columns][:, np.newaxis] - 2 * both

    def tangent(self, columns: tuple[int, ...] | None) -> tuple[np.ndarray, float]:
        """Returns cell weights and a constant whose sum is at or below x' R x for all choices x.

        At `columns` they are equal. None gives the zero that holds of every positive semidefinite form.
        """
        if columns is None or self._quadratic is None:
            return np.zeros(self._shape), 0.0
        weights = 2 * self._quadratic[:, self._flat(columns)].sum(axis=1).reshape(self._shape)
        return weights, -self._quadratic_at(columns)

    def largest(self, usable: np.ndarray) -> float:
        """Returns a bound that no choice's variance exceeds."""
        if self._quadratic is None:
            return float(np.where(usable, self.linear, 0.0).max(axis=1).sum()) + self.residual
        total = self.linear + np.diag(self._quadratic).reshape(self._shape)
        # A standard error of a sum is at most the sum of the standard errors.
        errors = np.sqrt(np.maximum(np.where(usable, total, 0.0), 0.0)).max(axis=1)
        return float(errors.sum()) ** 2 + self.residual

    def _quadratic_at(self, columns: tuple[int, ...]) -> float:
        if self._quadratic is None:
            return 0.0
        flat = self._flat(columns)
        return float(self._quadratic[np.ix_(flat, flat)].sum())

    def _flat(self, columns: tuple[int, ...]) -> np.ndarray:
        return np.arange(len(columns)) * self._shape[1] + np.asarray(columns)


def _cells(table: MetricTable, choices: Choices) -> np.ndarray:
    """Returns the table's flat cell at every site and activation of the choices; an arbitrary one where it has none."""
    rows = [table.sites.index(site) for site in choices.sites]
    names = {name: column for column, name in enumerate(table.activations)}
    columns = [names.get(name, 0) for name in choices.activations]
    return np.add.outer(np.multiply(rows, len(table.activations)), columns)


def _check_known(table: MetricTable, choices: Choices, cells: np.ndarray) -> None:
    errors = table.standard_error.ravel() if table.covariance is None else np.diag(table.covariance)
    for site, row, usable in zip(choices.sites, errors[cells], choices.usable, strict=True):
        for name, error, can in zip(choices.activations, row, usable, strict=True):
            if can and not np.isfinite(error):
                raise InputError(
                    f"Expected a {table.metric} table with standard errors, for a confidence. Received: one without "
                    f"for {name} at {site!r}."
                )


def _folded(covariance: np.ndarray, cells: np.ndarray, choices: Choices) -> np.ndarray:
    """Returns the covariance of the grid's cells, in which those of sites that agree are added up."""
    grid, (sites, activations) = choices.grid, cells.shape
    flat, usable = cells.ravel(), choices.usable.ravel()
    aligned = np.where(np.outer(usable, usable), covariance[np.ix_(flat, flat)], 0.0)
    if len(grid.sizes) == sites:
        return aligned
    member = np.zeros((len(grid.sizes) * activations, sites * activations))
    member[np.add.outer(grid.owner * activations, np.arange(activations)).ravel(), np.arange(sites * activations)] = 1
    return member @ aligned @ member.T
