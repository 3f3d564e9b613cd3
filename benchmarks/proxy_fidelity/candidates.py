"""The assignments that are trained: uniform networks, halves, random mixtures with controlled shares."""

from __future__ import annotations

import itertools

import numpy as np

from keras_actnas.core import CANDIDATES, Assignment


def candidates(reference: Assignment, count: int = 64, seed: int = 0) -> dict[str, Assignment]:
    """Returns name -> assignment: at least 60 for the study.

    The uniform networks, every pair of activations that matter most (SiLU, ReLU, hard-swish, leaky ReLU) as first half
    and second half, the same ones alternating, and random mixtures whose shares of each activation are random as well,
    so that networks of one activation and even mixtures are the ends of one scale.
    """
    sites = list(reference)
    half = len(sites) // 2
    found = {f"all {name}": Assignment.uniform(reference, name) for name in CANDIDATES}
    for first, second in itertools.permutations(("silu", "relu", "hard_swish", "leaky_relu"), 2):
        names = [first if number < half else second for number in range(len(sites))]
        found[f"{first}, then {second}"] = Assignment(zip(sites, names, strict=True))
    for first, second in itertools.combinations(("silu", "relu", "hard_swish", "leaky_relu"), 2):
        names = [(first, second)[number % 2] for number in range(len(sites))]
        found[f"{first} and {second} in turns"] = Assignment(zip(sites, names, strict=True))
    rng = np.random.default_rng(seed)
    number = 0
    while len(found) < count:
        shares = rng.dirichlet(np.full(len(CANDIDATES), 0.5))
        mixture = Assignment((site, str(rng.choice(CANDIDATES, p=shares))) for site in sites)
        if mixture not in found.values():
            found[f"mixture {number}"] = mixture
            number += 1
    return found
