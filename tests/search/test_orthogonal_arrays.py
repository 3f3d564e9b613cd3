"""Orthogonal plans: arrays where they exist, else balance kept and pairs nearer to orthogonal than random ones."""

import numpy as np
import pytest

from keras_actnas.core import Assignment
from keras_actnas.search.designs import make_design
from keras_actnas.search.orthogonal_arrays import nonorthogonality, orthogonal_columns


@pytest.mark.parametrize("prime, count, factors", [(2, 8, 7), (3, 27, 13), (5, 125, 31), (5, 25, 4)])
def test_pairs_of_an_orthogonal_array_have_every_combination_equally_often(prime, count, factors):
    plan = orthogonal_columns([prime] * factors, count, seed=3)
    for first in range(factors):
        for second in range(first):
            cells = np.bincount(plan[:, first] * prime + plan[:, second], minlength=prime**2)
            assert set(cells) == {count // prime**2}


@pytest.mark.parametrize("count", [30, 37])
def test_exchange_keeps_mixed_levels_balanced_and_lowers_the_criterion(count):
    levels = [5, 6, 2, 3, 5, 6, 4, 5]
    plan, random = orthogonal_columns(levels, count, 1), orthogonal_columns(levels, count, 1, passes=0)
    for column, number in zip(plan.T, levels, strict=True):
        counts = np.bincount(column, minlength=number)
        assert len(counts) == number and counts.max() - counts.min() <= 1
    assert nonorthogonality(plan) < 0.6 * nonorthogonality(random)


def test_nonorthogonality_is_chi_square_over_runs():
    assert nonorthogonality(np.array([[0, 0], [1, 1], [0, 0], [1, 1]])) == pytest.approx(1.0)


def test_seeds_decide_the_plan():
    one, same, other = (orthogonal_columns([5] * 6, 40, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_sites_whose_own_activation_is_no_candidate_have_a_level_more():
    reference = Assignment({"a": "silu", "b": "relu", "c": "elu"})
    rows = make_design("orthogonal", reference, ("silu", "relu"), 8, 0)
    assert {row["c"] for row in rows} == {"silu", "relu", "elu"} and {row["a"] for row in rows} == {"silu", "relu"}
