"""The budget of a design: the fewest networks it needs, and how rounds share them."""

from __future__ import annotations

from collections.abc import Collection

from keras_actnas.core.errors import InputError
from keras_actnas.search.regression import LEAST_FREEDOM


def least_networks(activations: Collection[str]) -> int:
    """Returns how few networks a design needs that mixes these activations, the reference's own ones included.

    The table's fit ties effects together: one feature an activation, less that of any one, and `LEAST_FREEDOM` networks
    more to tell the noise by.

    >>> least_networks(["silu", "relu", "hard_swish"])
    5
    """
    return len(set(activations)) - 1 + LEAST_FREEDOM


def check_budget(networks: int, activations: Collection[str], flag: str = "networks") -> None:
    """Raises `InputError`, which says the least, when `networks` are too few to mix the `activations` in them."""
    least = least_networks(activations)
    if networks < least:
        raise InputError(
            f"Expected {flag} of at least {least} for {len(set(activations))} activations. Received: {networks}. "
            f"Raise --{flag}."
        )


def round_sizes(count: int, rounds: int, activations: Collection[str]) -> list[int]:
    """Returns how many networks each round of an adaptive design measures: half first, the rest in equal parts.

    Args:
      count: Networks in total.
      rounds: Adaptive rounds after the first.
      activations: What occurs in the networks, which says how many the first round needs.

    >>> round_sizes(150, rounds=3, activations=["silu", "relu"])
    [75, 25, 25, 25]
    """
    check_budget(count, activations)
    first = max(least_networks(activations), (count + 1) // 2)
    share, more = divmod(count - first, rounds)
    return [first, *(size for size in (share + (number < more) for number in range(rounds)) if size)]
