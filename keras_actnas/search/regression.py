"""Weighted least squares: effects of activations from differences between networks."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_actnas.core.errors import InputError

LEAST_FREEDOM = 3
"""How many more networks than features must be measured, at least: fewer say nothing of the noise."""

LEAST_OWN = 1e-9


@dataclasses.dataclass(frozen=True)
class Effects:
    """Fitted effects.

    Attributes:
      values: One effect for each cell, in the metric's unit.
      covariance: Their covariance, shape (cells, cells).
      residual: Standard deviation of networks around the sums of their effects, beyond the measurements' own errors.
      left_out: For each observation, what was measured minus what the fit to all others predicts; NaN where the others
        say nothing of it.
      weights: For each observation, 1 if it counts in full and less if it is wild.
    """

    values: np.ndarray
    covariance: np.ndarray
    residual: float
    left_out: np.ndarray
    weights: np.ndarray


def known_errors(errors: np.ndarray) -> np.ndarray:
    """Returns the standard errors that say something of noise; zero is exact, or what too few runs give by luck."""
    return errors[np.isfinite(errors) & (errors > 0)]


def stated_weights(errors: np.ndarray) -> np.ndarray:
    """Returns 1 / standard error for each observation; ones where none is known."""
    known = known_errors(errors)
    if not known.size:
        return np.ones(len(errors))
    # An error estimated from a handful of runs may come out far too small by luck: none counts below half the median.
    return 1 / np.where(np.isfinite(errors), np.maximum(errors, np.median(known) / 2), np.median(known))


def beyond_errors(noise: float, errors: np.ndarray) -> float:
    """Returns the standard deviation of networks around the sums, beyond the stated errors of the measurements."""
    known = known_errors(errors)
    if not known.size:
        return float(np.sqrt(noise))
    return float(np.sqrt(max(noise - 1.0, 0.0)) * np.median(known))


def least_squares(incidence: np.ndarray, deltas: np.ndarray, errors: np.ndarray, metric: str) -> Effects:
    """Fits deltas = incidence @ effects + noise; the noise is that of the residuals, or the stated one without any.

    Where there are no residuals and every stated error is zero, the deltas are exact, and so are the effects.
    """
    rows, columns = incidence.shape
    weights = stated_weights(errors)
    design, target = incidence * weights[:, None], deltas * weights
    effects, _, rank, _ = np.linalg.lstsq(design, target, rcond=None)
    if rank < columns:
        raise InputError(
            f"Expected measurements that tell {columns} effects of the {metric} table apart. Received: {rows}, which "
            f"tell {rank}. Measure more networks, or give a prior that ties the effects together."
        )
    freedom = rows - rank
    stated = 1.0 if known_errors(errors).size else (np.nan if errors.any() else 0.0)
    away = target - design @ effects
    noise = float(np.sum(away**2) / freedom) if freedom else stated
    residual = beyond_errors(noise, errors) if freedom else 0.0
    information = np.linalg.inv(design.T @ design)
    leverage = np.einsum("ij,jk,ik->i", design, information, design)
    left_out = left_out_differences(away, 1 - leverage) / weights
    return Effects(effects, noise * information, residual, left_out, np.ones(rows))


def left_out_differences(away: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Returns what observations differ by from the fit to all others: residuals / (1 - leverage).

    NaN where an observation alone decides what the fit says of it.
    """
    return np.where(own > LEAST_OWN, away / np.maximum(own, LEAST_OWN), np.nan)
