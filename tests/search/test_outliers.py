"""What counts as wild: what is far from its prediction by all others, and the less the further it is."""

import doctest

import numpy as np
import pytest

from keras_actnas.search import outliers
from keras_actnas.search.outliers import TURN, tail_weights


def test_examples():
    assert doctest.testmod(outliers) == (0, 1)


def test_normal_noise_counts_in_full():
    weights = tail_weights(np.random.default_rng(0).normal(size=2000))
    assert np.mean(weights < 1) < 0.01
    assert weights.mean() > 0.995


def test_the_pull_falls_with_the_distance():
    away = np.random.default_rng(0).normal(size=200)
    pulls = []
    for wild in (3.5, 7.0, 70.0, 700.0):
        away[0] = wild
        pulls.append(tail_weights(away)[0] * wild**2)
    assert pulls == sorted(pulls, reverse=True)
    assert pulls[-1] < 1e-3 * pulls[0]


def test_the_unit_does_not_matter():
    away = np.random.default_rng(0).standard_t(2, size=200)
    np.testing.assert_allclose(tail_weights(away), tail_weights(-1000 * away))
    assert tail_weights(away).min() < 0.1


@pytest.mark.parametrize("away", [np.zeros(5), np.full(5, np.nan), np.ones(1), np.array([])])
def test_nothing_to_judge_by(away):
    np.testing.assert_array_equal(tail_weights(away), np.ones(len(away)))


def test_what_cannot_be_left_out_counts_in_full():
    away = np.append(np.random.default_rng(0).normal(size=50), [np.nan, 40 * TURN])
    assert tail_weights(away)[-2] == 1
    assert tail_weights(away)[-1] < 0.001
