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

# From so many values on, the binomial distribution of the sign test is as good as normal.
_MANY = 1000

# 97.5th percentile of Student's t with 1, 2, ..., 9 degrees of freedom. With more it is smaller: 1.96 in the end.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclasses.dataclass(frozen=True)
class LatencySummary:
    """What a set of times in milliseconds says.

    Attributes:
      median: Median.
      p95: 95th percentile.
      minimum: Fastest run.
      maximum: Slowest run.
      mean: Arithmetic mean.
      deviation: Standard deviation of one run, outliers and all.
      spread: Robust standard deviation of one run: 1.4826 times the median absolute deviation.
      standard_error: Standard error of the median, from `spread`.
      runs: Number of samples.
    """

    median: float
    p95: float
    minimum: float
    maximum: float
    mean: float
    deviation: float
    spread: float
    standard_error: float
    runs: int


def summarize(samples: Sequence[float]) -> LatencySummary:
    """Returns the summary of times in milliseconds; of a single sample, what says how samples differ is NaN."""
    values = np.asarray(samples, np.float64)
    spread = robust_spread(values)
    return LatencySummary(
        median=float(np.median(values)),
        p95=float(np.percentile(values, 95)),
        minimum=float(values.min()),
        maximum=float(values.max()),
        mean=float(values.mean()),
        deviation=float(values.std(ddof=1)) if len(values) > 1 else math.nan,
        spread=spread,
        standard_error=_MEDIAN_FACTOR * spread / math.sqrt(len(values)),
        runs=len(values),
    )


@dataclasses.dataclass(frozen=True)
class PairedRatio:
    """Candidate over reference.

    Attributes:
      ratio: The ratio.
      standard_error: Its standard error; NaN of a single pair.
      low: Lower end of its 95 % interval; NaN if there are too few samples for one.
      high: Upper end, likewise.
    """

    ratio: float
    standard_error: float
    low: float
    high: float


def paired_ratio(samples: Sequence[float], reference_samples: Sequence[float], sessions: int = 1) -> PairedRatio:
    """Returns the ratio of samples taken side by side, with its standard error and 95 % interval.

    In one session the ratio is the median of all pairs' ratios. Its interval supposes nothing but that pairs are
    independent; it says nothing of what another session would give.

    Of several sessions it is the geometric mean of the sessions' medians, and Student's interval from how these differ:
    that holds what stays the same for as long as a session lasts, too, such as where the memory of networks lies.

    Args:
      samples: Times of the candidate, in the order of measuring.
      reference_samples: Times of the reference; sample i was taken right beside candidate sample i.
      sessions: In how many sessions they were taken; `numpy.array_split` says which belong to which.
    """
    ratios = np.asarray(samples, np.float64) / np.asarray(reference_samples, np.float64)
    if sessions > 1:
        return _mean_of_sessions(np.log([np.median(part) for part in np.array_split(ratios, sessions)]))
    error = _MEDIAN_FACTOR * robust_spread(ratios) / math.sqrt(len(ratios))
    return PairedRatio(float(np.median(ratios)), error, *_median_interval(ratios))


def _mean_of_sessions(logarithms: np.ndarray) -> PairedRatio:
    count = len(logarithms)
    ratio = math.exp(logarithms.mean())
    error = float(logarithms.std(ddof=1)) / math.sqrt(count)
    factor = math.exp(student_factor(count) * error)
    return PairedRatio(ratio, ratio * error, ratio / factor, ratio * factor)


def student_factor(count: int) -> float:
    """Returns how many standard errors the 95 % interval of a mean reaches to either side (Student's t).

    Args:
      count: How many values the mean is of: 2 or more. From 10 on the factor stays that of 10, a little too large.

    >>> student_factor(5)
    2.776
    """
    return _STUDENT[min(count - 1, len(_STUDENT)) - 1]


def _median_interval(values: np.ndarray) -> tuple[float, float]:
    """Returns the 95 % interval of the median that the sign test gives: two of the sorted values.

    Each value is below the true median with probability 1/2, whatever its distribution.
    """
    count = len(values)
    if count > _MANY:
        half, width = count / 2, 1.96 * math.sqrt(count) / 2
        ordered = np.sort(values)
        return float(ordered[math.floor(half - width)]), float(ordered[math.ceil(half + width) - 1])
    below, rank = 1, 0  # How many of the 2^count outcomes have at most `rank` values below the median.
    while 40 * below <= 2**count:
        rank += 1
        below += math.comb(count, rank)
    if rank == 0:
        return math.nan, math.nan
    ordered = np.sort(values)
    return float(ordered[rank - 1]), float(ordered[count - rank])


def robust_spread(values: np.ndarray) -> float:
    """Returns 1.4826 times the median absolute deviation: the standard deviation, if outliers are left aside.

    Of few values that comes out too small; the factors that mend it are those of Croux and Rousseeuw (1992).
    """
    count = len(values)
    if count < 2:
        return math.nan
    factor = _FEW[count - 2] if count - 2 < len(_FEW) else count / (count - 0.8)
    return float(factor * 1.4826 * np.median(np.abs(values - np.median(values))))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Returns Spearman's rank correlation; values that are equal share their rank. NaN where one of both is constant.

    >>> rank_correlation([1.0, 2.0, 3.0], [10.0, 20.0, 15.0])
    0.5
    """
    ranks = [_ranks(np.asarray(values, np.float64)) for values in (first, second)]
    away = [one - one.mean() for one in ranks]
    scale = math.sqrt(float(away[0] @ away[0]) * float(away[1] @ away[1]))
    return float(away[0] @ away[1]) / scale if scale else math.nan


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]
