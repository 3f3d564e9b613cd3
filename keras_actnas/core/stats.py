"""Statistics derived from raw samples; the samples themselves are always kept."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

# Efficiency of the median: its standard error is this many times the mean's on normal noise.
_MEDIAN_FACTOR = math.sqrt(math.pi / 2)

# Corrections of the median absolute deviation of 2, 3, ..., 9 values.
_FEW = (1.196, 1.495, 1.363, 1.206, 1.200, 1.140, 1.129, 1.107)


@dataclasses.dataclass(frozen=True)
class LatencySummary:
    """What a set of times in milliseconds says.

    Attributes:
      median: Median.
      p95: 95th percentile.
      minimum: Fastest run.
      mean: Arithmetic mean.
      spread: Robust standard deviation of one run: 1.4826 times the median absolute deviation.
      standard_error: Standard error of the median, from `spread`.
      runs: Number of samples.
    """

    median: float
    p95: float
    minimum: float
    mean: float
    spread: float
    standard_error: float
    runs: int


def summarize(samples: Sequence[float]) -> LatencySummary:
    """Returns the summary of times in milliseconds; of a single sample, spread and standard error are NaN."""
    values = np.asarray(samples, np.float64)
    spread = robust_spread(values)
    return LatencySummary(
        median=float(np.median(values)),
        p95=float(np.percentile(values, 95)),
        minimum=float(values.min()),
        mean=float(values.mean()),
        spread=spread,
        standard_error=_MEDIAN_FACTOR * spread / math.sqrt(len(values)),
        runs=len(values),
    )


@dataclasses.dataclass(frozen=True)
class PairedRatio:
    """Candidate over reference, with the standard error of that ratio."""

    ratio: float
    standard_error: float


def paired_ratio(samples: Sequence[float], reference_samples: Sequence[float]) -> PairedRatio:
    """Returns the median of the ratios of samples taken side by side, and its standard error."""
    ratios = np.asarray(samples, np.float64) / np.asarray(reference_samples, np.float64)
    error = _MEDIAN_FACTOR * robust_spread(ratios) / math.sqrt(len(ratios))
    return PairedRatio(float(np.median(ratios)), error)


def robust_spread(values: np.ndarray) -> float:
    """Returns 1.4826 times the median absolute deviation: the standard deviation, if outliers are left aside.

    Of few values that comes out too small; the factors that mend it are those of Croux and Rousseeuw (1992).
    """
    count = len(values)
    if count < 2:
        return math.nan
    factor = _FEW[count - 2] if count - 2 < len(_FEW) else count / (count - 0.8)
    return float(factor * 1.4826 * np.median(np.abs(values - np.median(values))))
