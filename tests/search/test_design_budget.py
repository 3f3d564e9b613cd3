"""The budget of a design: the least, what fits a time, and rounds."""

import pytest

from keras_actnas.core import Assignment, InputError
from keras_actnas.search.design_budget import check_budget, least_networks, networks_in, round_sizes

REFERENCE = Assignment({"a": "silu", "b": "relu", "c": "elu"})


@pytest.mark.parametrize(
    "design, prior, least", [("single_swaps", True, 4), ("orthogonal", False, 4), ("orthogonal", True, 7)]
)
def test_the_least_is_enough_and_one_fewer_is_not(design, prior, least):
    assert least_networks(design, REFERENCE, ("silu", "relu"), prior) == least
    check_budget(design, least, REFERENCE, ("silu", "relu"), prior)
    with pytest.raises(InputError, match=f"at least {least} networks.*Received: {least - 1}.*--networks or --minutes"):
        check_budget(design, least - 1, REFERENCE, ("silu", "relu"), prior)


def test_opening_costs_networks():
    assert networks_in(1.0, 10.0, runs=4) == 500  # 2 * (4 + 2 untimed) * 10 ms each.
    assert networks_in(1.0, 10.0, opening_ms=120.0, runs=4) == 250


@pytest.mark.parametrize("count, rounds, least", [(150, 5, 11), (12, 5, 11), (11, 3, 11), (33, 4, 5)])
def test_rounds_share_the_whole_budget(count, rounds, least):
    sizes = round_sizes(count, rounds, least)
    assert sum(sizes) == count and sizes[0] >= least and len(sizes) <= rounds + 1 and min(sizes) > 0
    with pytest.raises(InputError, match=f"at least {least} networks"):
        round_sizes(least - 1, rounds, least)
    with pytest.raises(InputError, match="--rounds of at least 1"):
        round_sizes(count, 0, least)
