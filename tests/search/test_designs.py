"""Designs: what is measured, how often, and that seeds decide it."""

import collections

import pytest

from keras_actnas.core import CANDIDATES, Assignment, InputError
from keras_actnas.search import DESIGNS, make_design, mixtures, shares, single_swaps

REFERENCE = Assignment({"a": "silu", "b": "relu", "c": "elu", "d": "silu"})


@pytest.mark.parametrize("count", [1, 5, 6, 7, 30, 43])
def test_every_level_of_a_site_occurs_equally_often_up_to_one(count):
    for site, current in REFERENCE.items():
        levels = {current, *CANDIDATES}
        counts = collections.Counter(row[site] for row in mixtures(REFERENCE, CANDIDATES, count))
        assert sum(counts.values()) == count
        assert set(counts) <= levels
        assert max(counts.values()) - min(counts[level] for level in levels) <= 1


def test_mixtures_are_as_many_as_asked_and_over_all_sites():
    rows = mixtures(REFERENCE, CANDIDATES, 25, seed=3)
    assert len(rows) == 25
    assert all(list(row) == list(REFERENCE) for row in rows)


def test_seeds_decide_the_mixture():
    def rows(seed):
        return mixtures(REFERENCE, CANDIDATES, 20, seed)

    assert rows(1) == rows(1)
    assert rows(1) != rows(2)


def test_sites_are_mixed_independently():
    """With the same shuffle at every site, no site could be told from another."""
    rows = mixtures(Assignment.uniform("abcdefghijkl", "silu"), ("relu", "silu"), 400)
    for first in "abcdef":
        for second in "abcdef":
            if first != second:
                together = sum(row[first] == row[second] for row in rows) / len(rows)
                assert 0.4 < together < 0.6


def test_single_swaps_are_all_of_them_once():
    rows = single_swaps(REFERENCE, CANDIDATES)
    swaps = [row.swaps(REFERENCE) for row in rows]
    assert all(len(swap) == 1 for swap in swaps)
    cells = {next(iter(swap.items())) for swap in swaps}
    assert cells == {(s, name) for s, current in REFERENCE.items() for name in CANDIDATES if name != current}
    assert len(rows) == len(cells) == 4 + 4 + 5 + 4


def test_designs_by_name():
    assert make_design("single_swaps", REFERENCE, CANDIDATES, 1, 9) == single_swaps(REFERENCE, CANDIDATES)
    assert make_design("mixtures", REFERENCE, CANDIDATES, 7, 9) == mixtures(REFERENCE, CANDIDATES, 7, 9)
    assert make_design("shares", REFERENCE, CANDIDATES, 7, 9) == shares(REFERENCE, CANDIDATES, 7, 9)
    with pytest.raises(InputError, match="orthogonal, mixtures, shares, single_swaps. Received: 'factorial'"):
        make_design("factorial", REFERENCE, CANDIDATES, 7, 9)
    assert set(DESIGNS) == {"mixtures", "orthogonal", "shares", "single_swaps"}


def test_shares_differ_from_network_to_network():
    reference = Assignment.uniform("abcdefghijklmnopqrst", "silu")
    rows = shares(reference, CANDIDATES, 60, seed=1)
    assert rows == shares(reference, CANDIDATES, 60, seed=1) != shares(reference, CANDIDATES, 60, seed=2)
    assert len(set(rows)) == 60 and reference not in rows
    assert {tuple(row.values()) for row in rows[:4]} == {(name,) * 20 for name in CANDIDATES if name != "silu"}
    for name in CANDIDATES:
        of_random = [list(row.values()).count(name) for row in rows[4:]]
        assert min(of_random) == 0 and max(of_random) >= 12  # Balanced networks have four of each.
    of_many = shares(REFERENCE, CANDIDATES, 40)
    assert {row["c"] for row in of_many} == {"elu", *CANDIDATES}
    assert all(row["b"] != "elu" for row in of_many)  # It is no choice there.
    assert len(shares(Assignment({"a": "silu", "b": "relu"}), ("silu", "relu"), 3)) == 3


@pytest.mark.parametrize("make", [single_swaps, lambda *arguments: mixtures(*arguments, 5)])
def test_nothing_to_swap(make):
    uniform = Assignment.uniform("ab", "silu")
    with pytest.raises(InputError, match="other than the reference's own activation. Received: silu"):
        make(uniform, ["silu"])
    assert make(REFERENCE, ["silu"])


def test_a_small_space_is_measured_whole():
    reference = Assignment({"a": "silu", "b": "relu"})
    rows = mixtures(reference, ("silu", "relu"), 3)
    assert {tuple(row.values()) for row in rows} == {("silu", "silu"), ("relu", "relu"), ("relu", "silu")}
    assert reference not in rows
    assert len(mixtures(reference, ("silu", "relu"), 2)) == 2
