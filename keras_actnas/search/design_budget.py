"""The budget of a design: the fewest networks it needs, how many fit a time, and how rounds share them."""

from __future__ import annotations

from collections.abc import Sequence

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.devices.plan import MIN_RUNS, measuring_seconds
from keras_actnas.search.regression import LEAST_FREEDOM


def least_networks(design: str, reference: Assignment, activations: Sequence[str], prior: bool = True) -> int:
    """Returns how few networks a design can do with.

    Args:
      design: Name of the design.
      reference: The reference network's assignment.
      activations: The candidates.
      prior: Whether the effects are tied together by a prior (the mixed model): then two features an activation, less
        those of any one, and `LEAST_FREEDOM` networks more to tell the noise by; else one network an effect.

    >>> silu = Assignment.uniform(["stem", "head"], "silu")
    >>> least_networks("mixtures", silu, ("silu", "relu", "elu")), least_networks("single_swaps", silu, ("relu",))
    (7, 2)
    """
    effects = sum(len({current, *activations}) - 1 for current in reference.values())
    if design == "single_swaps" or not prior:
        return effects
    return 2 * (len({*reference.values(), *activations}) - 1) + LEAST_FREEDOM


def check_budget(
    design: str, networks: int, reference: Assignment, activations: Sequence[str], prior: bool = True
) -> None:
    """Raises `InputError`, which says the least, when `networks` are too few for the design."""
    least = least_networks(design, reference, activations, prior)
    if networks < least:
        raise InputError(
            f"Expected at least {least} networks for {design} of {len(reference)} sites. Received: {networks}. "
            "Raise --networks or --minutes."
        )


def networks_in(minutes: float, reference_ms: float, opening_ms: float = 0.0, runs: int = MIN_RUNS) -> int:
    """Returns how many networks can be measured in a time, with `runs` timed runs of each.

    Many networks with few runs are the best: noise of runs averages out over networks as it does over runs, while what
    does not add up within a network averages out over networks alone. More runs pay only for what opening and warming
    up take: least is (sd_network^2 + sd_run^2 / runs) * (overhead + runs * pair), at runs = sd_run / sd_network *
    sqrt(overhead / pair), with pair the time of a run and of one of the reference, and overhead that of the rest.

    Args:
      minutes: The budget.
      reference_ms: Latency of the reference in ms.
      opening_ms: What building and opening a network takes besides, in ms.
      runs: Timed runs of each network.

    >>> networks_in(2.0, reference_ms=20.0, runs=10)
    250
    """
    each = measuring_seconds(reference_ms, 1, runs) + opening_ms / 1000
    return int(60 * minutes / each + 1e-9)


def round_sizes(count: int, rounds: int, least: int) -> list[int]:
    """Returns how many networks each round of an adaptive design measures: half first, the rest in equal parts.

    Args:
      count: Networks in total.
      rounds: Adaptive rounds after the first.
      least: The fewest networks of the first round: see `least_networks`.

    Raises:
      InputError: `count` is below `least`, or `rounds` below 1.

    >>> round_sizes(150, rounds=3, least=11)
    [75, 25, 25, 25]
    """
    if rounds < 1:
        raise InputError(f"Expected --rounds of at least 1. Received: {rounds}.")
    if count < least:
        raise InputError(
            f"Expected at least {least} networks for an adaptive design. Received: {count}. Raise --networks."
        )
    first = max(least, (count + 1) // 2)
    share, more = divmod(count - first, rounds)
    return [first, *(size for size in (share + (number < more) for number in range(rounds)) if size)]
