"""Plans: how many runs the time allows, and the way into a file and back."""

import math

import pytest

from keras_actnas.core import Assignment, InputError
from keras_actnas.devices import Plan, Request
from keras_actnas.devices.plan import affordable_runs, measuring_seconds

REFERENCE = Assignment.uniform(["a", "b"], "silu")
REQUEST = Request((REFERENCE.with_swaps({"a": "relu"}), REFERENCE), REFERENCE, runs=50, model="m")


@pytest.mark.parametrize(
    ("reference", "networks", "seconds", "runs"),
    [
        (100, 150, 120, 4),
        (10, 150, 120, 38),
        (0.01, 10, 120, 50),
        (10, 10, 0, 4),
        (0.0, 10, 1, 50),
        (1, 1, math.inf, 50),
    ],
)
def test_affordable_runs(reference, networks, seconds, runs):
    assert affordable_runs(reference, networks, seconds) == runs


def test_measuring_takes_about_as_long_as_it_says():
    assert measuring_seconds(10.0, 150, 38) == pytest.approx(150 * 2 * 40 * 0.01)


def test_minutes_say_how_many_runs():
    assert Plan("net", REQUEST).runs(100.0, 150) == 50
    assert Plan("net", REQUEST, minutes=2).runs(10.0, 150) == 38


def test_a_plan_can_be_written_and_read():
    plan = Plan("net", REQUEST, minutes=3.5, num_threads=4, delegate="none", precision="int8")
    assert Plan.loads(plan.dumps()) == plan


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 2}', '{"format": 1, "name": "net", "request": {}}'])
def test_other_texts(text):
    with pytest.raises(InputError, match="Expected a plan of measurements. Received: "):
        Plan.loads(text)
