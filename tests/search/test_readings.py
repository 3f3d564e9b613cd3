"""What latencies of a device say of networks, whatever the machine does meanwhile."""

import math

import pytest

from keras_actnas.core import Assignment, Estimate, InputError, Measurement
from keras_actnas.search import readings

REFERENCE = Assignment.uniform(["a", "b"], "silu")


def swapped(**swaps):
    return REFERENCE.with_swaps(swaps)


def latency_of(assignment, samples, reference):
    return Measurement("latency", "ms", assignment, tuple(samples), tuple(reference))


def test_drift_of_the_machine_cancels():
    """The machine is twice as slow while the second network is measured: its ratio to the reference says the truth."""
    steady = latency_of(swapped(a="relu"), [9.0, 9.1, 8.9] * 5, [10.0, 10.1, 9.9] * 5)
    slowed = latency_of(swapped(b="relu"), [16.0, 16.2, 15.8] * 5, [20.0, 20.2, 19.8] * 5)
    own = readings.reference_estimate([steady] * 3 + [slowed])
    assert own.value == pytest.approx(10.0, abs=0.11)
    observations = readings.observations([steady, slowed], own)
    assert [o.delta / own.value for o in observations] == pytest.approx([-0.1, -0.2], abs=1e-3)
    assert all(0 <= o.standard_error < 0.1 for o in observations)
    assert readings.estimate(slowed, Estimate(50.0)).value == pytest.approx(40.0, rel=1e-3)


def test_a_single_run_has_no_error():
    measurement = latency_of(swapped(a="relu"), [9.0], [10.0])
    assert math.isnan(readings.estimate(measurement, Estimate(10.0)).standard_error)


def test_no_latency_measurements():
    with pytest.raises(InputError, match="Received: none"):
        readings.reference_estimate([])


def test_exact_values_have_no_error():
    made = [Measurement("sram", "KiB", swapped(a=name), (value,), (400.0,)) for name, value in (("relu", 390.0),)]
    own = readings.reference_estimate(made, exact=True)
    assert own == Estimate(400.0, 0.0)
    assert readings.estimate(made[0], own, exact=True) == Estimate(390.0, 0.0)
    assert [(one.delta, one.standard_error) for one in readings.observations(made, own, exact=True)] == [(-10.0, 0.0)]


def test_failures_say_nothing_of_a_metric():
    worked = Measurement("latency", "ms", swapped(a="relu"), (9.0,), (10.0,))
    failed = Measurement("latency", "ms", swapped(a="elu"), (), failure="no kernel")
    measured = {one.assignment: [one] for one in (worked, failed)}
    assert readings.of_metric(measured, "latency") == [worked]
    assert readings.failures(measured) == {failed.assignment: "no kernel"}
