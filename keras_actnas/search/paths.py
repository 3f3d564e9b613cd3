"""Which assignment each step of a super-network's training has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from keras_actnas.core.assignment import Assignment


def fair_paths(reference: Assignment, activations: Sequence[str], rng: np.random.Generator) -> Iterator[Assignment]:
    """Yields assignments without end, in which each site has had each of its activations before any comes again.

    Strict fairness of Chu et al., "FairNAS" (2021), section 3.2, with an update after every assignment: no activation
    is ahead of another because chance trained the weights with it more often, or more recently.

    Args:
      reference: The reference network's assignment.
      activations: The candidates; a site's own activation takes part as well.
      rng: Source of the order.
    """
    turns = [_turns(list(dict.fromkeys([own, *activations])), rng) for own in reference.values()]
    for names in zip(*turns, strict=True):
        yield Assignment(zip(reference, names, strict=True))


def _turns(names: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield from map(str, rng.permutation(names))
