"""Orthogonal main-effect plans: columns of levels, balanced, and pairwise as near to orthogonal as can be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PASSES = 4
"""How often every column is improved, at most."""


def orthogonal_columns(levels: Sequence[int], count: int, seed: int = 0, passes: int = PASSES) -> np.ndarray:
    """Returns a main-effect plan of factors with the given numbers of levels.

    Where all factors have the same prime number p of levels, `count` is a power of p and the factors are no more than
    (count - 1) / (p - 1), it is a linear orthogonal array of strength two (Rao-Hamming; Hedayat, Sloane and Stufken,
    Orthogonal Arrays, 1999, section 3.4). Else balanced random columns are improved by exchanging entries within a
    column, which keeps the balance, as long as that lowers `nonorthogonality` (columnwise exchange; Xu, 2002).

    Args:
      levels: Number of levels of each factor.
      count: Number of runs (networks).
      seed: Seed of the columns.
      passes: How often every column is improved, at most; 0 gives balanced random columns.

    Returns:
      Integers of shape (count, factors); each level of a factor occurs equally often, up to one.

    >>> plan = orthogonal_columns([3, 3, 3, 3], count=9)
    >>> plan.shape, round(nonorthogonality(plan), 9)
    ((9, 4), 0.0)
    """
    rng = np.random.default_rng(seed)
    array = _linear_array(levels, count, rng) if passes else None
    if array is not None:
        return array
    columns = [rng.permutation(np.resize(np.arange(number), count)) for number in levels]
    plan = np.array(columns, dtype=np.int64).reshape(len(levels), count).T
    return _improved(plan, rng, passes)


def nonorthogonality(plan: np.ndarray) -> float:
    """Returns the sum over pairs of factors of chi-square / runs: 0 where all pairs are orthogonal.

    Args:
      plan: Levels, shape (runs, factors).
    """
    kernels = [_kernel(column) for column in plan.T]
    total = np.sum(kernels, axis=0)
    return float((np.sum(total**2) - sum(np.sum(kernel**2) for kernel in kernels)) / 2)


def _linear_array(levels: Sequence[int], count: int, rng: np.random.Generator) -> np.ndarray | None:
    """Returns the linear orthogonal array over a prime field with shuffled runs, factors and levels, or none."""
    prime = levels[0] if levels else 0
    if prime < 2 or any(number != prime for number in levels) or any(prime % small == 0 for small in range(2, prime)):
        return None
    power = 1
    while prime**power < count:
        power += 1
    if prime**power != count or power < 2 or len(levels) > (count - 1) // (prime - 1):
        return None
    points = np.array(np.unravel_index(np.arange(count), (prime,) * power)).T
    # One generator for each direction: the first coefficient that is not zero is one.
    directions = [point for point in points[1:] if point[np.flatnonzero(point)[0]] == 1]
    chosen = np.array(directions)[rng.permutation(len(directions))[: len(levels)]]
    array = (rng.permutation(points) @ chosen.T) % prime
    return np.array([rng.permutation(prime)[column] for column in array.T]).T


def _kernel(column: np.ndarray) -> np.ndarray:
    """Returns the projection on a factor's contrasts, shape (runs, runs)."""
    same = column[:, None] == column[None, :]
    return same / same.sum(axis=1, keepdims=True) - 1 / len(column)


def _improved(plan: np.ndarray, rng: np.random.Generator, passes: int) -> np.ndarray:
    """Exchanges entries within columns while that lowers `nonorthogonality`."""
    plan = plan.copy()
    total = np.sum([_kernel(column) for column in plan.T], axis=0)
    for _ in range(passes):
        exchanged = False
        for factor in rng.permutation(plan.shape[1]):
            others = total - _kernel(plan[:, factor])
            exchanged |= _improve_column(plan[:, factor], others, rng)
            total = others + _kernel(plan[:, factor])
        if not exchanged:
            break
    return plan


def _improve_column(column: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> bool:
    """Exchanges each entry with the one that lowers the column's part of the criterion most; whether any did.

    That part is the sum over levels l of x_l' K x_l / n_l, with x_l the level's indicator, n_l how often it occurs and
    K the sum of the other factors' projections.
    """
    levels, column_index = np.unique(column, return_inverse=True)
    column_index = column_index.reshape(-1)
    indicator = (column_index[:, None] == np.arange(len(levels))).astype(float)
    weight = 1 / indicator.sum(axis=0)
    reach, diagonal = others @ indicator, np.diag(others)
    exchanged = False
    for row in rng.permutation(len(column)):
        here = column_index[row]
        distance = diagonal[row] + diagonal - 2 * others[row]
        gain_here = 2 * (reach[:, here] - reach[row, here]) + distance
        there = reach[np.arange(len(column)), column_index]
        gain_there = 2 * (reach[row, column_index] - there) + distance
        change = weight[here] * gain_here + weight[column_index] * gain_there
        change[column_index == here] = 0.0
        best = int(np.argmin(change))
        if change[best] < -1e-9:
            other = column_index[best]
            move = others[:, best] - others[:, row]
            reach[:, here] += move
            reach[:, other] -= move
            column_index[row], column_index[best] = other, here
            exchanged = True
    column[:] = levels[column_index]
    return exchanged
