"""Predicted against measured: the figures against plain formulas."""

import math

import numpy as np
import pytest

from keras_actnas.core import Estimate, InputError
from keras_actnas.core.additivity import additivity


def test_figures():
    found = additivity(
        [Estimate(1.0, 0.3), Estimate(2.0, 0.3), Estimate(4.0, 0.3)],
        [Estimate(1.5, 0.4), Estimate(1.0, 0.4), Estimate(4.0, 0.4)],
    )
    assert found.networks == 3
    assert found.error == pytest.approx(math.sqrt(1.25 / 3))
    assert found.noise == pytest.approx(0.4)
    assert found.beyond_noise == pytest.approx(math.sqrt(1.25 / 3 - 0.16))
    assert found.bias == pytest.approx(0.5 / 3)
    assert found.bias_error == pytest.approx(np.std([-0.5, 1.0, 0.0], ddof=1) / math.sqrt(3))
    assert found.covered == pytest.approx(2 / 3)  # Both errors together are 0.5: within 0.98.
    assert found.correlation == pytest.approx(0.5)


def test_the_interval_holds_what_it_says():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=4000)
    predicted = [Estimate(value + 0.3 * rng.normal(), 0.3) for value in truth]
    measured = [Estimate(value + 0.2 * rng.normal(), 0.2) for value in truth]
    found = additivity(predicted, measured)
    assert found.covered == pytest.approx(0.95, abs=0.01)
    assert found.beyond_noise == pytest.approx(0.3, rel=0.05)
    assert abs(found.bias) < 3 * found.bias_error


def test_errors_that_are_not_known():
    found = additivity([Estimate(1.0), Estimate(2.0, 0.1)], [Estimate(1.0, 0.1), Estimate(2.0, 0.1)])
    assert math.isnan(found.covered)
    assert found.error == 0 == found.beyond_noise
    assert math.isnan(additivity([Estimate(1.0, 0.1)], [Estimate(1.0, 0.1)]).bias_error)


def test_what_cannot_be_compared():
    with pytest.raises(InputError, match="Received: 0 predicted, 0 measured"):
        additivity([], [])
    with pytest.raises(InputError, match="Received: 1 predicted, 2 measured"):
        additivity([Estimate(1.0)], [Estimate(1.0)] * 2)
