"""The assignments that are trained: uniform networks, halves, random mixtures with controlled shares, proposals."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np

from keras_actnas.core import CANDIDATES, Assignment

HERE = Path(__file__).parent


def candidates(reference: Assignment, count: int = 64, seed: int = 0, proposals: bool = True) -> dict[str, Assignment]:
    """Returns name -> assignment: at least 60 for the study, and what was proposed for the network.

    The uniform networks, every pair of activations that matter most (SiLU, ReLU, hard-swish, leaky ReLU) as first half
    and second half, the same ones alternating, and random mixtures whose shares of each activation are random as well,
    so that networks of one activation and even mixtures are the ends of one scale. Behind them come the proposals that
    `propose.py` has left for a network of these sites, without those that are the same as another.
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
    if proposals:
        for name, assignment in proposed(reference).items():
            if assignment not in found.values():
                found[name] = assignment
    return found


def proposed(reference: Assignment) -> dict[str, Assignment]:
    """Returns name -> assignment of all proposals for a network of these sites; none where there is no file."""
    for path in sorted(HERE.glob("proposals_*.json")):
        found = {name: Assignment(sites) for name, sites in json.loads(path.read_text()).items()}
        if all(set(assignment) == set(reference) for assignment in found.values()):
            return found
    return {}


def proposals_file(network: str) -> Path:
    """Returns where the proposals for a network of the study are."""
    return HERE / f"proposals_{network}.json"
