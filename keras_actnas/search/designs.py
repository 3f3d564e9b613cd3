"""Designs: which assignments to measure, so that the effect of every site and activation can be told."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.search.orthogonal_arrays import PASSES, orthogonal_columns

DESIGNS = ("orthogonal", "mixtures", "shares", "single_swaps")


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
    return _balanced(reference, activations, count, seed, passes=0)


def shares(reference: Assignment, activations: Sequence[str], count: int, seed: int = 0) -> list[Assignment]:
    """Returns the uniform networks, then random ones in which also the shares of the activations are random.

    Balanced networks all have about as much of each activation. Where that is most of what they differ by, and each
    measurement has much noise, as in the loss of trained networks, these say more.

    Args:
      reference: The reference network's assignment.
      activations: The candidates; a site's own activation takes part as well.
      count: How many networks; where no more than that exist, all of them are taken, apart from the reference.
      seed: Seed of shares and mixing.
    """
    _check(reference, activations)
    if is_exhaustive(reference, activations, count):
        return _every(reference, activations)
    rng = np.random.default_rng(seed)
    uniform = [reference.with_swaps(dict.fromkeys(reference, name)) for name in activations]
    made = dict.fromkeys(one for one in uniform[:count] if one != reference)
    while len(made) < count:
        # 0.5: from nearly uniform networks to even mixtures.
        share = dict(zip(names := _names(reference, activations), rng.dirichlet(np.full(len(names), 0.5)), strict=True))
        one = Assignment((site, _drawn(_levels(own, activations), share, rng)) for site, own in reference.items())
        if one != reference:
            made[one] = None
    return list(made)


def _drawn(names: Sequence[str], share: Mapping[str, float], rng: np.random.Generator) -> str:
    shares = np.array([share[name] for name in names]) + 1e-9  # Of a site that has few choices, none may have a share.
    return str(rng.choice(names, p=shares / shares.sum()))


def orthogonal(reference: Assignment, activations: Sequence[str], count: int, seed: int = 0) -> list[Assignment]:
    """Returns balanced networks in which also any two sites are as near to orthogonal as can be.

    What one site's activations do is then the least mixed up with what another's do: see `orthogonal_columns`.

    Args:
      reference: The reference network's assignment.
      activations: The candidates; a site's own activation takes part as well, so sites may have different numbers.
      count: How many networks; where no more than that exist, all of them are taken, apart from the reference.
      seed: Seed of the plan.

    >>> rows = orthogonal(Assignment.uniform(["stem", "head"], "silu"), ("relu", "elu"), 6)
    >>> [sum(row["head"] == name for row in rows) for name in ("silu", "relu", "elu")]
    [2, 2, 2]
    """
    return _balanced(reference, activations, count, seed, PASSES)


def _balanced(
    reference: Assignment, activations: Sequence[str], count: int, seed: int, passes: int
) -> list[Assignment]:
    _check(reference, activations)
    if is_exhaustive(reference, activations, count):
        return _every(reference, activations)
    levels = [_levels(current, activations) for current in reference.values()]
    plan = orthogonal_columns([len(names) for names in levels], count, seed, passes)
    return [
        Assignment((site, names[level]) for site, names, level in zip(reference, levels, row, strict=True))
        for row in plan
    ]


def is_exhaustive(reference: Assignment, activations: Sequence[str], count: int) -> bool:
    """Returns whether there are no more than `count` networks besides the reference."""
    return math.prod(len(_levels(current, activations)) for current in reference.values()) - 1 <= count


def _every(reference: Assignment, activations: Sequence[str]) -> list[Assignment]:
    """Returns all networks but the reference."""
    levels = [_levels(current, activations) for current in reference.values()]
    every = (Assignment(zip(reference, row, strict=True)) for row in itertools.product(*levels))
    return [row for row in every if row != reference]


def _names(reference: Assignment, activations: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*activations, *reference.values()]))


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
    if name == "shares":
        return shares(reference, activations, count, seed)
    if name == "orthogonal":
        return orthogonal(reference, activations, count, seed)
    raise InputError(f"Expected a design out of {', '.join(DESIGNS)}. Received: {name!r}.")


def _check(reference: Assignment, activations: Sequence[str]) -> None:
    if not set(activations) - set(reference.values()) and len(set(reference.values())) == 1:
        raise InputError(
            f"Expected candidates other than the reference's own activation. Received: {', '.join(activations)}."
        )
