"""Ramps from 0 to 1."""

import dataclasses
import math

import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.core.ramps import Ramp

SCHEDULES = {
    "linear": lambda t: t,  # Equation (2): t of T_trans.
    "cosine": lambda t: 0.5 - 0.5 * math.cos(math.pi * t),
    "polynomial": lambda t: t**3,
}


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_schedules(schedule):
    ramp = Ramp(5, 25, schedule, power=3)
    for position in np.linspace(0, 30, 61):
        expected = 0 if position < 5 else 1 if position > 25 else SCHEDULES[schedule]((position - 5) / 20)
        assert ramp.at(position) == pytest.approx(expected, abs=1e-12)


def test_a_polynomial_is_a_square_unless_told():
    assert Ramp(0, 4, "polynomial").at(1) == pytest.approx(1 / 16)
    assert Ramp(0, 4, "polynomial", 0.5).at(1) == pytest.approx(1 / 2)


def test_a_function_gets_the_progress_and_only_in_the_transition():
    asked = []
    ramp = Ramp(2, 6, lambda progress: asked.append(progress) or 0.7)
    assert [ramp.at(position) for position in (0, 2, 3, 5, 6, 9)] == [0, 0, 0.7, 0.7, 1, 1]
    assert asked == [0.25, 0.75]


def test_ends_are_exact():
    for schedule in SCHEDULES:
        ramp = Ramp(0.1, 0.7, schedule)
        assert (ramp.at(0.1), ramp.at(0.7)) == (0.0, 1.0)


def test_a_jump():
    ramp = Ramp(3, 3)
    assert [ramp.at(position) for position in (0, 2.999, 3, 4)] == [0, 0, 1, 1]
    assert Ramp(0, 0).at(0) == 1


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan"), None, "much"])
def test_a_function_that_leaves_the_range(value):
    with pytest.raises(InputError, match="Expected a schedule that returns alpha from 0 to 1. Received: .* 0.5"):
        Ramp(0, 2, lambda progress: value).at(1)


@pytest.mark.parametrize("name", ["start", "end", "power"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "3", None, True])
def test_values_that_are_no_positions(name, value):
    with pytest.raises(InputError, match=f"Expected {name} to be a number .* Received: "):
        Ramp(**{"start": 1, "end": 5, "power": 2, name: value})


def test_other_errors():
    with pytest.raises(InputError, match="Expected power to be a number above 0. Received: 0"):
        Ramp(0, 1, power=0)
    with pytest.raises(InputError, match="Expected end not before start=5.* Received: 4"):
        Ramp(5, 4)
    with pytest.raises(InputError, match="Expected a schedule of linear, cosine, polynomial.* Received: 'sine'"):
        Ramp(0, 1, "sine")


def test_replacing_checks_again():
    assert dataclasses.replace(Ramp(0, 4), start=2).at(3) == 0.5
    with pytest.raises(InputError):
        dataclasses.replace(Ramp(0, 4), start=5)
