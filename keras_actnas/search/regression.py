"""Weighted least squares and the mixed model: effects of activations from differences between networks."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.search.outliers import tail_weights

LEAST_FREEDOM = 3
"""How many more networks than features must be measured, at least: fewer say nothing of the noise."""

ROUNDS = 8
"""How often the mixed model is fitted at most, each time with less weight on what the last fit could not foresee."""

_LEAST_OWN = 1e-9


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


def _known(errors: np.ndarray) -> np.ndarray:
    """Returns the standard errors that say something of noise; zero is exact, or what too few runs give by luck."""
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


def least_squares(incidence: np.ndarray, deltas: np.ndarray, errors: np.ndarray, metric: str) -> Effects:
    """Fits deltas = incidence @ effects + noise; the noise is that of the residuals, or the stated one without any.

    Where there are no residuals and every stated error is zero, the deltas are exact, and so are the effects.
    """
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
    stated = 1.0 if _known(errors).size else (np.nan if errors.any() else 0.0)
    away = target - design @ effects
    noise = float(np.sum(away**2) / freedom) if freedom else stated
    residual = _residual(noise, errors) if freedom else 0.0
    information = np.linalg.inv(design.T @ design)
    leverage = np.einsum("ij,jk,ik->i", design, information, design)
    left_out = _left_out(away, 1 - leverage) / weights
    return Effects(effects, noise * information, residual, left_out, np.ones(rows))


def mixed_model(
    incidence: np.ndarray,
    features: np.ndarray,
    deviations: np.ndarray,
    deltas: np.ndarray,
    errors: np.ndarray,
    metric: str,
) -> Effects:
    """Fits deltas = incidence @ (features @ theta + deviations @ z) + noise, z ~ N(0, ratio * noise variance).

    The ratio is not known: the result is the average over a grid of ratios, each weighted by its restricted
    likelihood, so that the covariance contains what is not known of the ratio as well.

    The noise has tails: a measurement that the fit to all others cannot foresee counts less (`tail_weights`), and the
    model is fitted again until the weights stay as they are (iteratively reweighted least squares).
    """
    stated = _weights(errors)
    least_noise = 1.0 if _known(errors).size else 0.0  # In units of the stated errors.
    share = np.ones(len(deltas))
    for _ in range(ROUNDS):
        weights = stated * np.sqrt(share)
        fit, inflation = _averaged(incidence, features, deviations, deltas, weights, metric, least_noise)
        # What was left out differs from its prediction by its own noise and by the prediction's, which is the larger
        # the less the others say of it.
        away = fit.left_out * stated / np.sqrt(1 + (inflation - 1) / share)
        last, share = share, tail_weights(away)
        if np.abs(share - last).max() < 0.01:
            break
    return dataclasses.replace(fit, residual=_residual(fit.residual**2, errors), weights=last)


def _averaged(
    incidence: np.ndarray,
    features: np.ndarray,
    deviations: np.ndarray,
    deltas: np.ndarray,
    weights: np.ndarray,
    metric: str,
    least_noise: float,
) -> tuple[Effects, np.ndarray]:
    """Returns the mixed model's average over the ratios, with these weights; its residual is in units of 1 / weight.

    With it comes, for each observation, the variance of what it differs by when left out, over that of its noise.
    """
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
    model = _MixedModel(basis, basis.T @ random, fixed, basis.T @ target, spectrum, features, deviations, least_noise)
    scale = max(float(spectrum.mean()), 1e-300)
    fits = [model.fit(ratio) for ratio in np.concatenate([[0.0], np.geomspace(1e-5, 1e3, 49) / scale])]
    likelihood = np.array([fit.log_likelihood for fit in fits])
    share = np.exp(likelihood - likelihood.max())
    share /= share.sum()
    effects = np.sum([weight * fit.effects for weight, fit in zip(share, fits, strict=True)], axis=0)
    covariance = np.zeros((len(effects), len(effects)))
    left_out, inflation = np.zeros((2, len(target)))
    for weight, fit in zip(share, fits, strict=True):
        if weight > 1e-4:
            away = fit.effects - effects
            covariance += weight * (model.covariance(fit) + np.outer(away, away))
            away, own = model.left_out(fit)
            left_out += weight * _left_out(away, own) / weights
            inflation += weight / np.maximum(own, _LEAST_OWN)
    noise = float(np.sum(share * np.array([fit.noise for fit in fits])))
    used = share[share > 1e-4].sum()
    return (
        Effects(effects, covariance, float(np.sqrt(noise)), left_out / used, np.ones(len(target))),
        inflation / used,
    )


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

    basis: np.ndarray
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

    def left_out(self, fit: _Fit) -> tuple[np.ndarray, np.ndarray]:
        """Returns each observation's residual and 1 - leverage, at this ratio: see `_left_out`.

        The fit is linear, fitted = H @ observed, and the leverage is H's diagonal. In the coordinates of the model
        I - H = P - P F (F' P F)^-1 F' P, with P the precision and F the features.
        """
        precision = 1 / (1 + fit.ratio * self.spectrum)
        weighted = precision[:, None] * self.fixed
        information = self.fixed.T @ weighted
        away = precision * self.target - weighted @ np.linalg.solve(information, weighted.T @ self.target)
        own = self.basis**2 @ precision
        through = self.basis @ weighted
        own -= np.einsum("ij,ji->i", through, np.linalg.solve(information, through.T))
        return self.basis @ away, own

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


def _left_out(away: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Returns what observations differ by from the fit to all others: residuals / (1 - leverage).

    NaN where an observation alone decides what the fit says of it.
    """
    return np.where(own > _LEAST_OWN, away / np.maximum(own, _LEAST_OWN), np.nan)
