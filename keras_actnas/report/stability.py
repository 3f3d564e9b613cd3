"""Noise and stability of the device, from its measurements in the journal."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_actnas.core.journal import Measurement
from keras_actnas.core.stats import paired_ratio, robust_spread
from keras_actnas.report.markup import Markup, element, figure, line
from keras_actnas.report.run import Run
from keras_actnas.report.scales import WIDTH, around, x_axis, y_axis


@dataclasses.dataclass(frozen=True)
class Stability:
    """How steady a device measured one metric. Shares are of the median.

    Attributes:
      measurements: Measurements that gave values, by purpose.
      samples: Timed runs of candidates in all of them; each has one of the reference beside it.
      spread: Robust standard deviation of single runs: the median over all measurements. NaN for single runs.
      error: Standard error of a candidate's ratio to the reference, likewise.
      reference: Each measurement's median of the reference, as a share of the median of all, in the order of time.
      drift: Median of the last quarter of `reference` less that of the first; NaN for few.
      disturbed: What disturbed measurements -> how many.
      failures: Reason -> how many networks the device could not run.
      partitions: Parts that a delegate ran a network in -> how many measurements.
    """

    measurements: dict[str, int]
    samples: int
    spread: float
    error: float
    reference: tuple[float, ...]
    drift: float
    disturbed: dict[str, int]
    failures: dict[str, int]
    partitions: dict[int, int]


def stability(run: Run, metric: str) -> Stability:
    """Returns how steady a metric's measurements were."""
    lines = [one for one in run.journal if one.metric == metric]
    good = sorted((one for one in lines if not one.failure and any(one.reference_samples)), key=lambda one: one.time)
    medians = np.array([np.median(one.reference_samples) for one in good])
    share = medians / np.median(medians) if len(medians) else medians
    quarter = len(share) // 4
    drift = float(np.median(share[-quarter:]) - np.median(share[:quarter])) if quarter else math.nan
    split = collections.Counter(int(one.conditions["partitions"]) for one in good if "partitions" in one.conditions)
    return Stability(
        dict(collections.Counter(one.purpose for one in good)),
        sum(len(one.samples) for one in good),
        _typical([robust_spread(np.array(one.reference_samples)) / np.median(one.reference_samples) for one in good]),
        _typical([_ratio_error(one) for one in good]),
        tuple(share.tolist()),
        drift,
        dict(collections.Counter(str(one.conditions["disturbed"]) for one in lines if one.conditions.get("disturbed"))),
        dict(collections.Counter(one.failure for one in lines if one.failure)),
        dict(sorted(split.items())),
    )


def _ratio_error(one: Measurement) -> float:
    ratio = paired_ratio(one.samples, one.reference_samples, int(one.conditions.get("sessions", 1)))
    return ratio.standard_error / ratio.ratio


def _typical(values: Sequence[float]) -> float:
    """Returns the median of what is known."""
    known = [value for value in values if math.isfinite(value)]
    return float(np.median(known)) if known else math.nan


def drift_plot(shares: Sequence[float], metric: str) -> Markup:
    """Returns the reference's value beside each measurement, in percent of its median, in the order of time."""
    percent = [100 * (share - 1) for share in shares]
    x_scale = around([1.0, float(len(percent))], 46, WIDTH - 14, 0.02)
    y_scale = around([0.0, *percent], 190, 30)
    parts = [
        *x_axis(x_scale, 30, 190, "measurement"),
        *y_axis(y_scale, 46, WIDTH - 14, f"{metric} of the reference, % from its median"),
    ]
    parts.append(line(46, y_scale(0.0), WIDTH - 14, y_scale(0.0), "zero"))
    path = " ".join(f"{x_scale(number):.1f},{y_scale(value):.1f}" for number, value in enumerate(percent, start=1))
    parts.append(element("polyline", points=path, class_="trace"))
    label = (
        f"{metric} of the reference over {len(percent)} measurements, from {min(percent):+.1f} to {max(percent):+.1f} %"
    )
    return figure(WIDTH, 230, label, *parts)
