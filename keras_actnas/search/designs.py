"""Designs: which assignments to measure, so that the effect of every site and activation can be told."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError

DESIGNS = ("mixtures", "single_swaps")


def single_swaps(reference: Assignment, activations: Sequence[str]) -> list[Assignment]:
    """Returns every network that differs from the reference at one site (ActNAS section 3).

    Five candidates at 69 sites make 345 in the paper; those 69 that are the reference itself are not repeated here.
    """
    _check(reference, activations)
    return [
        reference.with_swaps({site: name})
        for site, current in reference.items()
        for name in activations
        if name != current
    ]


def mixtures(reference: Assignment, activations: Sequence[str], count: int, seed: int = 0) -> list[Assignment]:
    """Returns random networks in which, at every site, every activation occurs equally often (up to one).

    Each measurement then tells something of every site, where a single swap tells something of one: with as many
    measurements, and the same noise in each, the effects come out many times more precise.

    Args:
      reference: The reference network's assignment.
      activations: The candidates; a site's own activation takes part as well.
      count: How many networks; where no more than that exist, all of them are taken, apart from the reference.
      seed: Seed of the mixing.
    """
    _check(reference, activations)
    rng = np.random.default_rng(seed)
    columns = []
    if is_exhaustive(reference, activations, count):
        every = itertools.product(*(_levels(current, activations) for current in reference.values()))
        rows = (Assignment(zip(reference, row, strict=True)) for row in every)
        return [row for row in rows if row != reference]
    for current in reference.values():
        levels = _levels(current, activations)
        repeated = np.resize(np.arange(len(levels)), count)
        columns.append([levels[index] for index in rng.permutation(repeated)])
    return [Assignment(zip(reference, row, strict=True)) for row in zip(*columns, strict=True)]


def is_exhaustive(reference: Assignment, activations: Sequence[str], count: int) -> bool:
    """Returns whether there are no more than `count` networks besides the reference."""
    return math.prod(len(_levels(current, activations)) for current in reference.values()) - 1 <= count


def _levels(current: str, activations: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([current, *activations]))


def make_design(
    name: str, reference: Assignment, activations: Sequence[str], count: int, seed: int
) -> list[Assignment]:
    """Returns the assignments of a design by name; `count` is for the designs that have a choice.

    Raises:
      InputError: The name is unknown, or there is nothing to swap.
    """
    if name == "single_swaps":
        return single_swaps(reference, activations)
    if name == "mixtures":
        return mixtures(reference, activations, count, seed)
    raise InputError(f"Expected a design out of {', '.join(DESIGNS)}. Received: {name!r}.")


def _check(reference: Assignment, activations: Sequence[str]) -> None:
    if not set(activations) - set(reference.values()) and len(set(reference.values())) == 1:
        raise InputError(
            f"Expected candidates other than the reference's own activation. Received: {', '.join(activations)}."
        )
