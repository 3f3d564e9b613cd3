"""What makes the times of a measurement doubtful."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from keras_actnas.core.stats import robust_spread, summarize

LARGE_SPREAD = 0.05
"""Spread of single runs, as a share of the median, from which on they are called unstable."""

LARGE_ERROR = 0.01
"""Standard error of the median, as a share of it, from which on there are too few runs for the spread."""

DRIFT_ERRORS = 4.0
"""Standard errors by which the medians of the two halves differ when that is no longer noise ..."""

DRIFT_SHARE = 0.01
"""... and by what share of the median, for it to matter."""

OUTLIER_SPREADS = 5.0
"""An outlier is this many spreads slower than the median ..."""

OUTLIER_SLOWER = 1.2
"""... and this many times as slow ..."""

OUTLIER_SHARE = 0.05
"""... and this share of the runs has to be outliers."""

MODE_SHARE = 0.2
"""Share of the runs that each of two groups of times needs ..."""

MODE_GAP = 2.0
"""... which are apart by this many times the wider group's spread ..."""

MODE_DISTANCE = 0.02
"""... and by this share of the median."""

_RUNS_FOR_HALVES = 20
_RUNS_FOR_MODES = 20


def stability_warnings(samples: Sequence[float]) -> list[str]:
    """Returns what is doubtful about times in milliseconds, taken one after the other; nothing for good ones."""
    if len(samples) < 2:
        return ["a single run does not tell how much runs differ; take more"]
    values = np.asarray(samples, np.float64)
    found = [_large_spread(values), _drift(values), _two_speeds(values), _outliers(values), _too_few(values)]
    return [text for text in found if text]


def _large_spread(values: np.ndarray) -> str:
    if robust_spread(values) <= LARGE_SPREAD * np.median(values):
        return ""
    return f"single runs spread by more than {100 * LARGE_SPREAD:.0f} % of the median; close other programs"


def _drift(values: np.ndarray) -> str:
    if len(values) < _RUNS_FOR_HALVES:
        return ""
    first, second = (summarize(list(half)) for half in np.array_split(values, 2))
    change = second.median - first.median
    noise = math.hypot(first.standard_error, second.standard_error)
    if abs(change) <= max(DRIFT_ERRORS * noise, DRIFT_SHARE * first.median):
        return ""
    what = "slower than the first; does the board get hot?" if change > 0 else "faster than the first; warm up longer"
    return f"the second half of the runs is {100 * abs(change) / first.median:.1f} % {what}"


def _two_speeds(values: np.ndarray) -> str:
    """Finds two groups of times with nothing in between, which no single number describes."""
    count = len(values)
    if count < _RUNS_FOR_MODES:
        return ""
    ordered = np.sort(values)
    least = math.ceil(MODE_SHARE * count)
    gaps = np.diff(ordered)[least - 1 : count - least]
    split = least + int(gaps.argmax())
    fast, slow = ordered[:split], ordered[split:]
    if gaps.max() <= max(MODE_GAP * max(robust_spread(fast), robust_spread(slow)), MODE_DISTANCE * np.median(values)):
        return ""
    return (
        f"runs have two speeds: {len(fast)} of about {np.median(fast):.3f} ms, {len(slow)} of about "
        f"{np.median(slow):.3f} ms; does the clock change, do cores differ, or does another program take turns?"
    )


def _outliers(values: np.ndarray) -> str:
    median = float(np.median(values))
    limit = max(median + OUTLIER_SPREADS * robust_spread(values), OUTLIER_SLOWER * median)
    count = int((values > limit).sum())
    if count <= OUTLIER_SHARE * len(values):
        return ""
    return f"{count} of {len(values)} runs took longer than {limit:.3f} ms; something else runs beside them"


def _too_few(values: np.ndarray) -> str:
    summary = summarize(list(values))
    share = summary.standard_error / summary.median
    if share <= LARGE_ERROR:
        return ""
    needed = math.ceil(len(values) * (share / LARGE_ERROR) ** 2)
    return f"too few runs for their spread: the median is known to {100 * share:.1f} %; {needed} runs would make it 1 %"
