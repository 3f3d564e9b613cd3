"""Fits metric tables to the journal: what each activation at each site does, and how well that is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.table import Estimate, MetricTable
from keras_actnas.search.priors import Cell, Prior


@dataclasses.dataclass(frozen=True)
class Observation:
    """One measured network: its assignment, its difference to the reference, and that difference's standard error."""

    assignment: Assignment
    delta: float
    standard_error: float


LEAST_FREEDOM = 3
"""How many more networks than features must be measured, at least: fewer say nothing of the noise."""


def fit_table(
    observations: Sequence[Observation],
    reference: Assignment,
    activations: Sequence[str],
    reference_value: Estimate,
    *,
    metric: str,
    unit: str = "",
    prior: Prior | None = None,
    context: Mapping[str, Any] | None = None,
) -> MetricTable:
    """Returns the table whose sums of deltas come closest to the observations, by weighted least squares.

    Without a prior this is ordinary least squares: every observed cell is an effect of its own. Observations that are
    single swaps then give back the measured differences, as in the paper.

    A prior ties the effects together, because single effects drown in noise and interactions: each is what the prior's
    features say plus a deviation of its own, and how large the deviations are is estimated from the data themselves
    (restricted maximum likelihood of the mixed model).

    Args:
      observations: Measured networks.
      reference: The reference network's assignment.
      activations: The table's columns; those of the reference are added.
      reference_value: The metric of the reference network.
      metric: Name of the metric.
      unit: Its unit.
      prior: What is assumed about the effects before anything is measured: see `keras_actnas.search.priors`.
      context: How the observations came about.

    Raises:
      InputError: No observations, or too few to tell the effects apart.
    """
    if not observations:
        raise InputError(f"Expected measurements to fit the {metric} table to. Received: none.")
    names = tuple(dict.fromkeys([*activations, *reference.values()]))
    cells = _observed_cells(observations, reference, names)
    incidence = _incidence(observations, reference, cells)
    if not cells:
        raise InputError(
            f"Expected measurements of networks that differ from the reference, to fit the {metric} table to. "
            f"Received: {len(observations)} of the reference alone. Measure more networks."
        )
    deltas = np.array([observation.delta for observation in observations])
    errors = np.array([observation.standard_error for observation in observations])
    if prior is None:
        fit = _least_squares(incidence, deltas, errors, metric)
    else:
        features, deviations = prior.features(cells, reference), prior.deviations(cells, reference)
        fit = _mixed_model(incidence, features, deviations, deltas, errors, metric)
    context = {**(context or {}), "fit": "least squares" if prior is None else f"mixed model, {prior.name}"}
    return _table(fit, cells, reference, names, reference_value, metric, unit, context)


def average_tables(tables: Sequence[MetricTable]) -> MetricTable:
    """Returns the mean of tables of one metric from different initializations, with the error of that mean.

    What differs from one initialization to the next is common to all networks measured with it, so no number of
    networks averages it out: the covariance of the mean is that of the fits plus that between the tables. Of a single
    table nothing is known of the latter.

    Args:
      tables: Tables with the same rows and columns.
    """
    first, count = tables[0], len(tables)
    deltas = np.array([table.delta.ravel() for table in tables])
    covariances = [
        np.diag(table.standard_error.ravel() ** 2) if table.covariance is None else table.covariance for table in tables
    ]
    covariance = np.mean(covariances, axis=0) / count
    if count > 1:
        # Single swaps of scores fit exactly, with errors that are not known: all there is lies between the tables.
        covariance = np.nan_to_num(covariance)
        away = np.nan_to_num(deltas - deltas.mean(axis=0))
        covariance += away.T @ away / (count - 1) / count
    delta = deltas.mean(axis=0)
    error = np.where(np.isnan(delta), np.nan, np.sqrt(np.maximum(np.diag(covariance), 0.0)))
    return dataclasses.replace(
        first,
        reference_value=Estimate(float(np.mean([table.reference_value.value for table in tables])), 0.0),
        delta=delta.reshape(first.delta.shape),
        standard_error=error.reshape(first.delta.shape),
        covariance=covariance,
        residual=float(np.sqrt(np.mean([table.residual**2 for table in tables]) / count)),
    )


@dataclasses.dataclass(frozen=True)
class _Effects:
    """Fitted effects of the cells, their covariance, and what sums of effects leave unexplained of a network."""

    values: np.ndarray
    covariance: np.ndarray
    residual: float


def _observed_cells(observations: Sequence[Observation], reference: Assignment, names: Sequence[str]) -> list[Cell]:
    """Returns the (site, activation) pairs that occur, apart from the reference's own, in the table's order."""
    seen = {swap for observation in observations for swap in observation.assignment.swaps(reference).items()}
    unknown = {name for _, name in seen} - set(names)
    if unknown:
        raise InputError(f"Expected measurements of {', '.join(names)}. Received: one with {sorted(unknown)[0]!r}.")
    return [(site, name) for site in reference for name in names if (site, name) in seen]


def _incidence(observations: Sequence[Observation], reference: Assignment, cells: list[Cell]) -> np.ndarray:
    """Returns the 0/1 matrix (observations, cells): which effects take part in which network."""
    column = {cell: number for number, cell in enumerate(cells)}
    matrix = np.zeros((len(observations), len(cells)))
    for row, observation in enumerate(observations):
        reference.check_sites(observation.assignment)
        for swap in observation.assignment.swaps(reference).items():
            matrix[row, column[swap]] = 1.0
    return matrix


def _known(errors: np.ndarray) -> np.ndarray:
    """Returns the standard errors that say something; zero is what too few runs give by luck."""
    return errors[np.isfinite(errors) & (errors > 0)]


def _weights(errors: np.ndarray) -> np.ndarray:
    """Returns 1 / standard error for each observation; ones where none is known."""
    known = _known(errors)
    if not known.size:
        return np.ones(len(errors))
    # An error estimated from a handful of runs may come out far too small by luck: none counts below half the median.
    return 1 / np.where(np.isfinite(errors), np.maximum(errors, np.median(known) / 2), np.median(known))


def _residual(noise: float, errors: np.ndarray) -> float:
    """Returns the standard deviation of networks around the sums, beyond the stated errors of the measurements."""
    known = _known(errors)
    if not known.size:
        return float(np.sqrt(noise))
    return float(np.sqrt(max(noise - 1.0, 0.0)) * np.median(known))


def _least_squares(incidence: np.ndarray, deltas: np.ndarray, errors: np.ndarray, metric: str) -> _Effects:
    """Fits deltas = incidence @ effects + noise; the noise is that of the residuals, or the stated one without any."""
    rows, columns = incidence.shape
    weights = _weights(errors)
    design, target = incidence * weights[:, None], deltas * weights
    effects, _, rank, _ = np.linalg.lstsq(design, target, rcond=None)
    if rank < columns:
        raise InputError(
            f"Expected measurements that tell {columns} effects of the {metric} table apart. Received: {rows}, which "
            f"tell {rank}. Measure more networks, or give a prior that ties the effects together."
        )
    freedom = rows - rank
    stated = 1.0 if _known(errors).size else np.nan
    noise = float(np.sum((target - design @ effects) ** 2) / freedom) if freedom else stated
    residual = _residual(noise, errors) if freedom else 0.0
    return _Effects(effects, noise * np.linalg.inv(design.T @ design), residual)


def _mixed_model(
    incidence: np.ndarray,
    features: np.ndarray,
    deviations: np.ndarray,
    deltas: np.ndarray,
    errors: np.ndarray,
    metric: str,
) -> _Effects:
    """Fits deltas = incidence @ (features @ theta + deviations @ z) + noise, z ~ N(0, ratio * noise variance).

    The ratio is not known: the result is the average over a grid of ratios, each weighted by its restricted
    likelihood, so that the covariance contains what is not known of the ratio as well.
    """
    weights = _weights(errors)
    random, target = incidence @ deviations * weights[:, None], deltas * weights
    visible = incidence * weights[:, None]
    features = features @ _seen_directions(visible @ features)
    spectrum, basis = np.linalg.eigh(random @ random.T)
    spectrum = np.maximum(spectrum, 0.0)
    fixed = basis.T @ visible @ features
    if len(target) < fixed.shape[1] + LEAST_FREEDOM:
        raise InputError(
            f"Expected at least {fixed.shape[1] + LEAST_FREEDOM} measured networks to fit the {metric} table to. "
            f"Received: {len(target)}. Measure more (`--networks`)."
        )
    least_noise = 1.0 if _known(errors).size else 0.0  # In units of the stated errors.
    model = _MixedModel(basis.T @ random, fixed, basis.T @ target, spectrum, features, deviations, least_noise)
    scale = max(float(spectrum.mean()), 1e-300)
    fits = [model.fit(ratio) for ratio in np.concatenate([[0.0], np.geomspace(1e-5, 1e3, 49) / scale])]
    likelihood = np.array([fit.log_likelihood for fit in fits])
    share = np.exp(likelihood - likelihood.max())
    share /= share.sum()
    effects = np.sum([weight * fit.effects for weight, fit in zip(share, fits, strict=True)], axis=0)
    covariance = np.zeros((len(effects), len(effects)))
    for weight, fit in zip(share, fits, strict=True):
        if weight > 1e-4:
            away = fit.effects - effects
            covariance += weight * (model.covariance(fit) + np.outer(away, away))
    noise = float(np.sum(share * np.array([fit.noise for fit in fits])))
    return _Effects(effects, covariance, _residual(noise, errors))


@dataclasses.dataclass(frozen=True)
class _Fit:
    """The mixed model at one ratio of variances."""

    ratio: float
    noise: float
    effects: np.ndarray
    log_likelihood: float


@dataclasses.dataclass(frozen=True)
class _MixedModel:
    """The mixed model in coordinates where the covariance of the observations is diagonal: 1 + ratio * spectrum."""

    random: np.ndarray
    fixed: np.ndarray
    target: np.ndarray
    spectrum: np.ndarray
    features: np.ndarray
    deviations: np.ndarray
    least_noise: float

    def fit(self, ratio: float) -> _Fit:
        precision = 1 / (1 + ratio * self.spectrum)
        information = self.fixed.T @ (precision[:, None] * self.fixed)
        theta = np.linalg.solve(information, self.fixed.T @ (precision * self.target))
        residual = self.target - self.fixed @ theta
        freedom = self.freedom
        noise = max(float(residual @ (precision * residual)) / freedom, 1e-300)
        z = ratio * self.random.T @ (precision * residual)
        log_likelihood = -0.5 * (freedom * np.log(noise) - np.log(precision).sum() + np.linalg.slogdet(information)[1])
        return _Fit(ratio, noise, self.features @ theta + self.deviations @ z, float(log_likelihood))

    @property
    def freedom(self) -> int:
        return len(self.target) - self.fixed.shape[1]

    def covariance(self, fit: _Fit) -> np.ndarray:
        # The noise is itself estimated, so errors have a t distribution; and it is no smaller than the stated errors.
        noise = max(fit.noise * self.freedom / (self.freedom - 2), self.least_noise)
        precision = 1 / (1 + fit.ratio * self.spectrum)
        gain = fit.ratio * self.random.T * precision
        information = self.fixed.T @ (precision[:, None] * self.fixed)
        through = self.features - self.deviations @ (gain @ self.fixed)
        own = fit.ratio * (np.eye(len(gain)) - gain @ self.random)
        return noise * (self.deviations @ own @ self.deviations.T + through @ np.linalg.solve(information, through.T))


def _seen_directions(matrix: np.ndarray) -> np.ndarray:
    """Returns the combinations of features that the data can see: some coincide, such as a size that never varies."""
    _, values, directions = np.linalg.svd(matrix, full_matrices=False)
    return directions[values > 1e-7 * values[0]].T


def _table(
    fit: _Effects,
    cells: list[Cell],
    reference: Assignment,
    names: tuple[str, ...],
    reference_value: Estimate,
    metric: str,
    unit: str,
    context: Mapping[str, Any],
) -> MetricTable:
    rows = {site: row for row, site in enumerate(reference)}
    flat = [rows[site] * len(names) + names.index(name) for site, name in cells]
    delta = np.full(len(rows) * len(names), np.nan)
    own = [rows[site] * len(names) + names.index(name) for site, name in reference.items()]
    delta[own] = 0.0
    delta[flat] = fit.values
    covariance = np.zeros((len(delta), len(delta)))
    covariance[np.ix_(flat, flat)] = fit.covariance
    error = np.where(np.isnan(delta), np.nan, np.sqrt(np.maximum(np.diag(covariance), 0.0)))
    shape = len(rows), len(names)
    return MetricTable(
        metric,
        unit,
        reference,
        names,
        reference_value,
        delta.reshape(shape),
        error.reshape(shape),
        context,
        covariance,
        fit.residual,
    )
