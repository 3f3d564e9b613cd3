"""What a device's measurements say: values of networks, and differences to the reference that tables are fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.journal import Measurement
from keras_actnas.core.measured import estimate, reference_estimate
from keras_actnas.core.table import Estimate
from keras_actnas.search.tables import Observation

__all__ = ["estimate", "failures", "observations", "of_metric", "reference_estimate"]


def of_metric(measured: Mapping[Assignment, Sequence[Measurement]], metric: str) -> list[Measurement]:
    """Returns the measurements of one metric that did not fail, one for each assignment at the most."""
    return [one for lines in measured.values() for one in lines if one.metric == metric and not one.failure]


def failures(measured: Mapping[Assignment, Sequence[Measurement]]) -> dict[Assignment, str]:
    """Returns the assignments that the device cannot run, with its reason."""
    return {one.assignment: one.failure for lines in measured.values() for one in lines if one.failure}


def observations(measurements: Sequence[Measurement], reference: Estimate, exact: bool = False) -> list[Observation]:
    """Returns what each measurement says of the difference to the reference, in the metric's unit."""
    found = []
    for measurement in measurements:
        value = estimate(measurement, reference, exact)
        found.append(Observation(measurement.assignment, value.value - reference.value, value.standard_error))
    return found
