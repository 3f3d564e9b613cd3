"""Fits metric tables to the journal: what each activation at each site does, and how well that is known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.table import Estimate, MetricTable
from keras_actnas.search.mixed_model import mixed_model
from keras_actnas.search.priors import Cell, Prior
from keras_actnas.search.regression import Effects, least_squares


@dataclasses.dataclass(frozen=True)
class Observation:
    """One measured network: its assignment, its difference to the reference, and that difference's standard error."""

    assignment: Assignment
    delta: float
    standard_error: float


def fit_table(
    observations: Sequence[Observation],
    reference: Assignment,
    activations: Sequence[str],
    reference_value: Estimate,
    *,
    metric: str,
    unit: str = "",
    prior: Prior | None = None,
    noisy_reference: bool = False,
    context: Mapping[str, Any] | None = None,
) -> MetricTable:
    """Returns the table whose sums of deltas come closest to the observations, by weighted least squares.

    Without a prior this is ordinary least squares: every observed cell is an effect of its own. Observations that are
    single swaps then give back the measured differences, as in the paper.

    A prior ties the effects together, because single effects drown in noise and interactions: each is what the prior's
    features say plus a deviation of its own, and how large the deviations are is estimated from the data themselves
    (restricted maximum likelihood of the mixed model). Observations that this cannot foresee from all others, such as
    those made while a board was busy, count less.

    The table's context says how well it was fitted: "leave_out_error" is the root-mean-square difference between each
    observation and what the fit to all others predicts, in the metric's unit, noise of the measurements included (None
    where nothing can be left out: single swaps); "wild" is how many observations count less than in full.

    Args:
      observations: Measured networks.
      reference: The reference network's assignment.
      activations: The table's columns; those of the reference are added.
      reference_value: The metric of the reference network.
      metric: Name of the metric.
      unit: Its unit.
      prior: What is assumed about the effects before anything is measured: see `keras_actnas.search.priors`.
      noisy_reference: Whether the reference was measured once, with as much noise as any other network. The differences
        to it then have that noise in common, which is fitted as well and goes into the table's reference value.
      context: How the observations came about.

    Raises:
      InputError: No observations, or too few to tell the effects apart.
    """
    if not observations:
        raise InputError(f"Expected measurements to fit the {metric} table to. Received: none.")
    if noisy_reference:
        observations = [Observation(reference, 0.0, math.nan), *observations]
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
    common = int(noisy_reference)  # How many effects there are before those of the cells: one that all networks have.
    incidence = np.hstack([np.ones((len(observations), common)), incidence])
    if prior is None:
        fit = least_squares(incidence, deltas, errors, metric)
    else:
        features = np.pad(prior.features(cells, reference), ((common, 0), (common, 0)))
        features[:common, :common] = 1.0
        deviations = np.pad(prior.deviations(cells, reference), ((common, 0), (0, 0)))
        fit = mixed_model(incidence, features, deviations, deltas, errors, metric)
    if noisy_reference:
        reference_value = dataclasses.replace(reference_value, value=reference_value.value + float(fit.values[0]))
        fit = dataclasses.replace(fit, values=fit.values[1:], covariance=fit.covariance[1:, 1:])
    context = {
        **(context or {}),
        "fit": "least squares" if prior is None else f"mixed model, {prior.name}",
        "leave_out_error": _root_mean_square(fit.left_out),
        "wild": int(np.sum(fit.weights < 1.0)),
    }
    return _table(fit, cells, reference, names, reference_value, metric, unit, context)


def average_tables(tables: Sequence[MetricTable]) -> MetricTable:
    """Returns the mean of tables of one metric from different initializations, with the error of that mean.

    What differs from one initialization to the next is common to all networks measured with it, so no number of
    networks averages it out: the covariance of the mean is that of the fits plus that between the tables. Of a single
    table nothing is known of the latter. The leave-out error is that of one initialization: their root-mean-square.

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
    left_out = [table.context.get("leave_out_error") for table in tables]
    known = np.array([math.nan if value is None else value for value in left_out], np.float64)
    context = {
        **first.context,
        "leave_out_error": _root_mean_square(known),
        "wild": sum(table.context.get("wild", 0) for table in tables),
    }
    return dataclasses.replace(
        first,
        reference_value=Estimate(float(np.mean([table.reference_value.value for table in tables])), 0.0),
        delta=delta.reshape(first.delta.shape),
        standard_error=error.reshape(first.delta.shape),
        context=context,
        covariance=covariance,
        residual=float(np.sqrt(np.mean([table.residual**2 for table in tables]) / count)),
    )


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


def _root_mean_square(values: np.ndarray) -> float | None:
    """Returns the root-mean-square of what is known; None, which JSON can hold, if something is not."""
    return None if np.isnan(values).any() else float(np.sqrt(np.mean(values**2)))


def _table(
    fit: Effects,
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
