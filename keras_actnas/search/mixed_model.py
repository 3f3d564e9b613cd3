"""The mixed model: effects of activations from differences between networks, tied together by a prior."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.search.outliers import tail_weights
from keras_actnas.search.regression import (
    LEAST_FREEDOM,
    LEAST_OWN,
    Effects,
    beyond_errors,
    known_errors,
    left_out_differences,
    stated_weights,
)

ROUNDS = 8
"""How often the model is fitted at most, each time with less weight on what the last fit could not foresee."""


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
    stated = stated_weights(errors)
    least_noise = 1.0 if known_errors(errors).size else 0.0  # In units of the stated errors.
    share = np.ones(len(deltas))
    for _ in range(ROUNDS):
        weights = stated * np.sqrt(share)
        average = _Average(_mixed(incidence, features, deviations, deltas, weights, metric, least_noise))
        # What was left out differs from its prediction by its own noise and by the prediction's, which is the larger
        # the less the others say of it.
        left_out, inflation = average.left_out()
        away = left_out / np.sqrt(share) / np.sqrt(1 + (inflation - 1) / share)
        last, share = share, tail_weights(away)
        if np.abs(share - last).max() < 0.01:
            break
    effects = average.effects
    return Effects(effects, average.covariance(), beyond_errors(average.noise, errors), left_out / weights, last)


def _mixed(
    incidence: np.ndarray,
    features: np.ndarray,
    deviations: np.ndarray,
    deltas: np.ndarray,
    weights: np.ndarray,
    metric: str,
    least_noise: float,
) -> _MixedModel:
    """Returns the mixed model of weighted observations, in the coordinates of their covariance."""
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
    return _MixedModel(basis, basis.T @ random, fixed, basis.T @ target, spectrum, features, deviations, least_noise)


class _Average:
    """The mixed model averaged over a grid of ratios, each weighted by its restricted likelihood.

    Attributes:
      effects: The mean effects.
      noise: The mean variance of the noise, in units of 1 / weight^2.
    """

    def __init__(self, model: _MixedModel) -> None:
        scale = max(float(model.spectrum.mean()), 1e-300)
        fits = [model.fit(ratio) for ratio in np.concatenate([[0.0], np.geomspace(1e-5, 1e3, 49) / scale])]
        likelihood = np.array([fit.log_likelihood for fit in fits])
        share = np.exp(likelihood - likelihood.max())
        share /= share.sum()
        self._model = model
        self._likely = [(weight, fit) for weight, fit in zip(share, fits, strict=True) if weight > 1e-4]
        self.effects = np.sum([weight * fit.effects for weight, fit in zip(share, fits, strict=True)], axis=0)
        self.noise = float(np.sum(share * np.array([fit.noise for fit in fits])))

    def left_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns what each observation differs by from the fit to all others, in units of 1 / weight.

        With it comes the variance of that difference, over that of the observation's noise.
        """
        left_out, inflation = np.zeros((2, len(self._model.target)))
        used = sum(weight for weight, _ in self._likely)
        for weight, fit in self._likely:
            away, own = self._model.left_out(fit)
            left_out += weight / used * left_out_differences(away, own)
            inflation += weight / used / np.maximum(own, LEAST_OWN)
        return left_out, inflation

    def covariance(self) -> np.ndarray:
        """Returns the covariance of the effects: that of each ratio, and how the ratios differ.

        At one ratio it is noise (D (r I - r^2 R' P R) D' + T I^-1 T'), with D the deviations, R what the observations
        show of them, P the precision, I the information on the features and T what an effect takes from theirs. Over
        the ratios r I and r^2 P are added up first: only diagonals change.
        """
        model = self._model
        diagonal, precision = 0.0, np.zeros(len(model.target))
        covariance = np.zeros((len(self.effects), len(self.effects)))
        for weight, fit in self._likely:
            noise = weight * model.stated_noise(fit)
            diagonal += noise * fit.ratio
            precision += noise * fit.ratio**2 * model.precision(fit)
            through, information = model.of_features(fit)
            away = fit.effects - self.effects
            covariance += noise * through @ np.linalg.solve(information, through.T) + weight * np.outer(away, away)
        seen = model.deviations @ model.random.T
        covariance += diagonal * model.deviations @ model.deviations.T
        return covariance - (seen * precision) @ seen.T


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

    def precision(self, fit: _Fit) -> np.ndarray:
        return 1 / (1 + fit.ratio * self.spectrum)

    def stated_noise(self, fit: _Fit) -> float:
        # The noise is itself estimated, so errors have a t distribution; and it is no smaller than the stated errors.
        return max(fit.noise * self.freedom / (self.freedom - 2), self.least_noise)

    def left_out(self, fit: _Fit) -> tuple[np.ndarray, np.ndarray]:
        """Returns each observation's residual and 1 - leverage, at this ratio: see `left_out_differences`.

        The fit is linear, fitted = H @ observed, and the leverage is H's diagonal. In the coordinates of the model
        I - H = P - P F (F' P F)^-1 F' P, with P the precision and F the features.
        """
        precision = self.precision(fit)
        weighted = precision[:, None] * self.fixed
        information = self.fixed.T @ weighted
        away = precision * self.target - weighted @ np.linalg.solve(information, weighted.T @ self.target)
        own = self.basis**2 @ precision
        through = self.basis @ weighted
        own -= np.einsum("ij,ji->i", through, np.linalg.solve(information, through.T))
        return self.basis @ away, own

    def of_features(self, fit: _Fit) -> tuple[np.ndarray, np.ndarray]:
        """Returns what each effect takes from the features' coefficients, and the information on these."""
        weighted = self.precision(fit)[:, None] * self.fixed
        through = self.features - self.deviations @ (fit.ratio * self.random.T @ weighted)
        return through, self.fixed.T @ weighted


def _seen_directions(matrix: np.ndarray) -> np.ndarray:
    """Returns the combinations of features that the data can see: some coincide, such as a size that never varies."""
    _, values, directions = np.linalg.svd(matrix, full_matrices=False)
    return directions[values > 1e-7 * values[0]].T
