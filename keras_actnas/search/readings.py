"""What a device's measurements say: values of networks, and differences to the reference that tables are fitted to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Measurement
from keras_actnas.core.stats import paired_ratio, summarize
from keras_actnas.core.table import Estimate
from keras_actnas.search.tables import Observation


def of_metric(measured: Mapping[Assignment, Sequence[Measurement]], metric: str) -> list[Measurement]:
    """Returns the measurements of one metric that did not fail, one for each assignment at the most."""
    return [one for lines in measured.values() for one in lines if one.metric == metric and not one.failure]


def failures(measured: Mapping[Assignment, Sequence[Measurement]]) -> dict[Assignment, str]:
    """Returns the assignments that the device cannot run, with its reason."""
    return {one.assignment: one.failure for lines in measured.values() for one in lines if one.failure}


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


def observations(measurements: Sequence[Measurement], reference: Estimate, exact: bool = False) -> list[Observation]:
    """Returns what each measurement says of the difference to the reference, in the metric's unit."""
    found = []
    for measurement in measurements:
        value = estimate(measurement, reference, exact)
        found.append(Observation(measurement.assignment, value.value - reference.value, value.standard_error))
    return found
