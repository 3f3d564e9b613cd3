"""Do effects add up? What a table predicts of networks against what was measured of them, in a few figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.core.stats import rank_correlation
from keras_actnas.core.table import Estimate

_NORMAL_95 = 1.959964


@dataclasses.dataclass(frozen=True)
class Additivity:
    """How well predictions agree with measurements, in the unit of both.

    Attributes:
      networks: How many.
      error: Root-mean-square difference, predicted minus measured.
      noise: Root-mean-square standard error of the measurements, which no table could avoid; NaN if one is not known.
      bias: Mean difference, predicted minus measured: negative if predictions are too low, for latency too good.
      bias_error: Standard error of the bias; NaN of one network.
      covered: Share of networks within the 95 % interval of the difference: predicted and measured errors together;
        NaN where one is not known.
      correlation: Spearman's rank correlation; NaN where all are predicted, or measured, alike.
    """

    networks: int
    error: float
    noise: float
    bias: float
    bias_error: float
    covered: float
    correlation: float

    @property
    def beyond_noise(self) -> float:
        """The part of the error that the noise of the measurements does not account for."""
        return float(np.sqrt(max(self.error**2 - self.noise**2, 0.0)))


def additivity(predicted: Sequence[Estimate], measured: Sequence[Estimate]) -> Additivity:
    """Returns how well predicted values agree with measured ones (ActNAS section 3.3.3: the sum of single effects).

    The quantile of the interval is the normal distribution's: the tables' errors are already those of a t distribution
    where the noise was estimated from few networks.

    Args:
      predicted: What the table says of each network, such as `table.predict(network)`.
      measured: What was measured of it, on the same scale.

    Raises:
      InputError: None at all, or not as many of one as of the other.

    >>> predicted = [Estimate(9.0, 0.3), Estimate(8.0, 0.3), Estimate(7.0, 0.3)]
    >>> found = additivity(predicted, [Estimate(9.1, 0.1), Estimate(8.1, 0.1), Estimate(8.0, 0.1)])
    >>> round(found.error, 2), round(found.bias, 2), round(found.covered, 2), found.correlation
    (0.58, -0.4, 0.67, 1.0)
    """
    if not predicted or len(predicted) != len(measured):
        raise InputError(
            f"Expected a measurement for each of at least one prediction. "
            f"Received: {len(predicted)} predicted, {len(measured)} measured."
        )
    expected, found = (np.array([one.value for one in values]) for values in (predicted, measured))
    stated, noise = (np.array([one.standard_error for one in values]) for values in (predicted, measured))
    missed, error = expected - found, np.hypot(stated, noise)
    return Additivity(
        networks=len(missed),
        error=float(np.sqrt(np.mean(missed**2))),
        noise=float(np.sqrt(np.mean(noise**2))),
        bias=float(missed.mean()),
        bias_error=float(missed.std(ddof=1) / np.sqrt(len(missed))) if len(missed) > 1 else float("nan"),
        covered=float("nan") if np.isnan(error).any() else float(np.mean(np.abs(missed) <= _NORMAL_95 * error)),
        correlation=rank_correlation(expected.tolist(), found.tolist()),
    )
