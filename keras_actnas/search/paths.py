"""Which assignment each step of a super-network's training has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from keras_actnas.core.assignment import Assignment


def fair_paths(reference: Assignment, activations: Sequence[str], rng: np.random.Generator) -> Iterator[Assignment]:
    """Yields assignments without end; in every len(names) in a row, each site has had each activation once.

    Strict fairness of Chu et al., "FairNAS" (2021), section 3.2, with an update after every assignment: no activation
    is ahead of another because chance had trained the weights with it more often, or more recently.

    Args:
      reference: The reference network's assignment.
      activations: The candidates; a site's own activation takes part as well.
      rng: Source of the order.
    """
    levels = [list(dict.fromkeys([own, *activations])) for own in reference.values()]
    while True:
        orders = [rng.permutation(names) for names in levels]
        for number in range(max(map(len, levels))):
            yield Assignment(
                (site, str(order[number % len(order)])) for site, order in zip(reference, orders, strict=True)
            )
