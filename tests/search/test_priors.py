"""What the priors assume: the shared part, and the directions in which single effects leave it."""

import numpy as np
import pytest

from keras_actnas.core import Assignment
from keras_actnas.search.priors import CostPrior, CurvePrior, LossPrior

REFERENCE = Assignment.uniform(["a", "b"], "silu")
CELLS = [("a", "relu"), ("a", "relu6"), ("a", "hard_swish"), ("b", "relu")]


def correlation(prior):
    directions = prior.deviations(CELLS, REFERENCE)
    covariance = directions @ directions.T
    scale = np.sqrt(np.diag(covariance))
    return covariance, covariance / np.outer(scale, scale)


# Columns: relu, relu6, hard_swish come, silu goes.
EXCHANGED = np.array([[1, 0, 0, -1], [0, 1, 0, -1], [0, 0, 1, -1], [1, 0, 0, -1]])


def test_costs_have_a_part_per_element_and_one_per_operator():
    prior = CostPrior({"a": 300.0, "b": 100.0})
    sizes = np.array([1.5, 1.5, 1.5, 0.5])
    np.testing.assert_allclose(prior.features(CELLS, REFERENCE), sizes[:, None] * EXCHANGED)
    # Cells deviate with their size; what an operator costs is common to all sites of an activation.
    covariance, _ = correlation(prior)
    np.testing.assert_allclose(covariance, np.diag(sizes**2) + EXCHANGED @ EXCHANGED.T, atol=1e-12)


def test_scores_have_a_constant_per_activation():
    np.testing.assert_allclose(CurvePrior().features(CELLS, REFERENCE), EXCHANGED)


def test_the_activation_that_goes_counts():
    """Where the reference has ReLU, going to SiLU takes back what going from SiLU to ReLU brings."""
    reference = Assignment({"a": "silu", "b": "relu"})
    there, back = CurvePrior().features([("a", "relu"), ("b", "silu")], reference)
    np.testing.assert_allclose(there, -back)


def test_alike_curves_deviate_together_and_sites_apart():
    covariance, likeness = correlation(CurvePrior())
    assert likeness[0, 1] > 0.999  # ReLU and ReLU6
    assert covariance[2, 2] < 0.5 * covariance[0, 0]  # Hard-swish is close to SiLU.
    assert covariance[0, 0] == pytest.approx(covariance[3, 3])
    assert np.abs(covariance[:3, 3]).max() == 0


def test_a_curve_is_like_itself():
    """E[(relu - silu)^2] under a standard normal, by hand on a grid."""
    grid = np.linspace(-6, 6, 2001)
    weight = np.exp(-(grid**2) / 2)
    difference = np.maximum(grid, 0) - grid / (1 + np.exp(-grid))
    covariance, _ = correlation(CurvePrior())
    assert covariance[0, 0] == pytest.approx(np.sum(weight * difference**2) / weight.sum(), rel=1e-3)


def test_losses_are_as_scores_in_proportion_to_the_elements():
    prior, sizes = LossPrior({"a": 300.0, "b": 100.0}), np.array([1.5, 1.5, 1.5, 0.5])
    np.testing.assert_allclose(prior.features(CELLS, REFERENCE), sizes[:, None] * EXCHANGED)
    covariance, likeness = correlation(prior)
    plain, same = correlation(CurvePrior())
    np.testing.assert_allclose(covariance, np.outer(sizes, sizes) * plain)
    np.testing.assert_allclose(likeness, same)
