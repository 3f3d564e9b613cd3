"""A design for scoring: random networks of which neighbours begin alike, so that less has to be computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError


def shared_beginnings(
    reference: Assignment, activations: Sequence[str], count: int, seed: int = 0, margin: float = 2.0
) -> list[Assignment]:
    """Returns random networks in blocks that agree on their first sites; the blocks shrink with depth.

    At every site, every activation is given to equally many blocks (up to one). Of two networks that begin alike,
    `SegmentedNetwork` computes the second from where they differ.

    Args:
      reference: The reference network's assignment, with its sites in the order of computing.
      activations: The candidates; a site's own activation takes part as well.
      count: How many networks.
      seed: Seed of the mixing.
      margin: How many blocks there have to be at a site, for every effect of the sites up to it.

    Raises:
      InputError: `count` or `margin` is not positive.

    Example:
      >>> rows = shared_beginnings(Assignment.uniform("abcd", "silu"), ("relu",), 16)
      >>> [len({tuple(row.values())[:depth] for row in rows}) <= 8 for depth in (1, 2)]
      [True, True]
    """
    if count < 1 or margin <= 0:
        raise InputError(f"Expected a positive count and margin. Received: count={count}, margin={margin}.")
    rng = np.random.default_rng(seed)
    columns, effects = [], 0
    for current in reference.values():
        levels = list(dict.fromkeys([current, *activations]))
        effects += len(levels) - 1
        size = _block_size(count, max(margin * effects, len(levels)))  # Else a level would not occur at all.
        of_block = rng.permutation(np.resize(np.arange(len(levels)), -(-count // size)))
        columns.append([levels[of_block[row // size]] for row in range(count)])
    return [Assignment(zip(reference, row, strict=True)) for row in zip(*columns, strict=True)]


def _block_size(count: int, blocks: float) -> int:
    """Returns the largest power of two that leaves enough blocks; of powers, the larger blocks hold the smaller."""
    size = 1
    while size * 2 <= count and count // (size * 2) >= blocks:
        size *= 2
    return size
