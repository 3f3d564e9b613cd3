"""What measurements say of a network beside the reference."""

from __future__ import annotations

from collections.abc import Iterable

from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Measurement
from keras_actnas.core.stats import paired_ratio, summarize
from keras_actnas.core.table import Estimate


def reference_estimate(measurements: Iterable[Measurement], exact: bool = False) -> Estimate:
    """Returns the reference's value over all of `measurements`: the median of every sample of it.

    Args:
      measurements: Measurements of one metric, each beside the reference.
      exact: Whether the device gives the same value each time.
    """
    samples = [sample for measurement in measurements for sample in measurement.reference_samples]
    if not samples:
        raise InputError("Expected measurements beside a reference. Received: none.")
    summary = summarize(samples)
    return Estimate(summary.median, 0.0 if exact else summary.standard_error)


def estimate(measurement: Measurement, reference: Estimate, exact: bool = False) -> Estimate:
    """Returns a candidate's value, on the scale of `reference`; the error is that of the difference.

    A machine's speed drifts; the ratio to the reference measured beside the candidate does not.
    """
    if exact:
        return Estimate(reference.value + measurement.samples[0] - measurement.reference_samples[0], 0.0)
    sessions = int(measurement.conditions.get("sessions", 1))
    ratio = paired_ratio(measurement.samples, measurement.reference_samples, sessions)
    return Estimate(reference.value * ratio.ratio, reference.value * ratio.standard_error)
