"""The design for scoring: blocks that begin alike, balanced, decided by the seed."""

import collections

import pytest

from keras_actnas.core import CANDIDATES, Assignment, InputError
from keras_actnas.search.score_designs import shared_beginnings

SITES = [f"site{number}" for number in range(30)]
REFERENCE = Assignment.uniform(SITES, "silu")
LEVELS = {"silu", *CANDIDATES}
EFFECTS = len(LEVELS) - 1
COUNT = 160


def sizes(rows):
    """Returns the size of the blocks at every site: a divisor of the lengths of runs that agree on all up to it."""
    found = []
    for depth in range(1, len(SITES) + 1):
        heads = [tuple(row[site] for site in SITES[:depth]) for row in rows]
        size = 1
        while all(len(set(heads[at : at + size * 2])) == 1 for at in range(0, len(rows), size * 2)):
            size *= 2
        found.append(size)
    return found


def test_blocks_begin_alike_and_shrink_with_depth():
    found = sizes(shared_beginnings(REFERENCE, CANDIDATES, COUNT))
    assert found[0] > 2
    assert found[-1] == 1
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("margin", [1.0, 2.0, 4.0])
def test_held_sites_have_more_blocks_than_effects(margin):
    for number, size in enumerate(sizes(shared_beginnings(REFERENCE, CANDIDATES, COUNT, margin=margin)), 1):
        assert size == 1 or COUNT // size >= margin * number * EFFECTS


def test_every_level_is_given_to_equally_many_blocks_up_to_one():
    rows = shared_beginnings(REFERENCE, CANDIDATES, COUNT)
    for site, size in zip(SITES, sizes(rows), strict=True):
        counts = collections.Counter(row[site] for row in rows[::size])
        assert max(counts.values()) - min(counts[level] for level in LEVELS) <= 1


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.0])
def test_every_level_occurs_at_every_site_however_small_the_margin(margin):
    rows = shared_beginnings(REFERENCE, CANDIDATES, COUNT, margin=margin)
    assert all({row[site] for row in rows} == LEVELS for site in SITES)


def test_the_seed_decides():
    rows = shared_beginnings(REFERENCE, CANDIDATES, COUNT, seed=1)
    assert rows == shared_beginnings(REFERENCE, CANDIDATES, COUNT, seed=1)
    assert rows != shared_beginnings(REFERENCE, CANDIDATES, COUNT, seed=2)


@pytest.mark.parametrize(("count", "margin"), [(0, 2.0), (5, 0.0)])
def test_nothing_to_make_is_refused(count, margin):
    with pytest.raises(InputError, match=f"Received: count={count}, margin={margin}"):
        shared_beginnings(REFERENCE, CANDIDATES, count, margin=margin)
