"""Trivial predictors of trained accuracy, which a proxy has to beat: how much of each activation, and where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from keras_actnas.core import CANDIDATES, Assignment

Shapes = Mapping[str, Sequence[int]]
"""Site -> (height, width, channels) of its output, in the order of execution."""


def chosen(assignments: Sequence[Assignment], shapes: Shapes) -> np.ndarray:
    """Returns 1 where a site has an activation, shape (assignments, sites, activations)."""
    columns = np.array([[CANDIDATES.index(one[site]) for site in shapes] for one in assignments])
    return np.eye(len(CANDIDATES))[columns]


def elements(shapes: Shapes) -> np.ndarray:
    """Returns the elements of each site."""
    return np.array([math.prod(shape) for shape in shapes.values()], np.float64)


def depths(shapes: Shapes) -> np.ndarray:
    """Returns the position of each site, from 0 at the input to 1."""
    return np.linspace(0.0, 1.0, len(shapes))


def shares(assignments: Sequence[Assignment], shapes: Shapes) -> dict[str, np.ndarray]:
    """Returns kind of share -> share of each activation, shape (assignments, activations)."""
    found, depth = chosen(assignments, shapes), depths(shapes)
    weights = {
        "share": np.ones(len(depth)),
        "share of elements": elements(shapes),
        "share weighted by depth": depth,
        "share in the first half": (depth < 0.5) * 1.0,
        "share in the second half": (depth >= 0.5) * 1.0,
    }
    return {kind: np.einsum("nsa,s->na", found, weight) / weight.sum() for kind, weight in weights.items()}


def linear_features(assignments: Sequence[Assignment], shapes: Shapes) -> dict[str, np.ndarray]:
    """Returns what linear predictors are fitted to, by name, each of shape (assignments, features)."""
    of = shares(assignments, shapes)
    return {
        "shares": of["share"],
        "shares of elements": of["share of elements"],
        "shares, and weighted by depth": np.hstack([of["share"], of["share weighted by depth"]]),
        "shares in the first and second half": np.hstack(
            [of["share in the first half"], of["share in the second half"]]
        ),
    }


def left_out_linear(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns what least squares, with a constant, predicts of each value from all others."""
    design = np.column_stack([np.ones(len(values)), features])
    hat = design @ np.linalg.pinv(design)  # Shares add up to 1: the rank is not full.
    away = values - hat @ values
    return values - away / np.maximum(1 - np.diag(hat), 1e-9)
