"""Rank correlations, also within groups and given other predictors, and their bootstrap intervals."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def kendall(first: np.ndarray, second: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Returns Kendall's tau-b over all pairs, or over those within the same group; NaN where one of both is constant.

    >>> kendall(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]))
    0.3333333333333333
    """
    return float(_tau(_signs(first), _signs(second), np.ones((1, len(first))), _pairs(first, groups))[0])


def spearman(first: np.ndarray, second: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Returns Spearman's rank correlation; with groups, that of ranks within groups, around their groups' means.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]))
    0.5
    """
    return float(_pearson(_ranks(first, groups), _ranks(second, groups)))


def partial(first: np.ndarray, second: np.ndarray, given: np.ndarray) -> float:
    """Returns the correlation of two rankings beyond what a linear function of other predictors says of both.

    The ranks of both are regressed on the predictors and a constant; Pearson's correlation is that of the residuals.

    Args:
      first: One value for each network.
      second: Another.
      given: The predictors, shape (networks, predictors).
    """
    design = np.column_stack([np.ones(len(first)), given])
    away = [ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0] for ranks in map(_ranks, (first, second))]
    # What is left of a ranking that the predictors say in full is rounding.
    return float(_pearson(*away)) if min(np.abs(one).max() for one in away) > 1e-9 * len(first) else np.nan


class Bootstrap:
    """Draws of networks and of the seeds that these were trained with, both with replacement; the same for all proxies.

    Seeds drawn again add their noise to what the values have of it already, so that intervals reach somewhat too far
    toward zero.

    Args:
      values: Shape (networks, seeds), without what seeds have in common; NaN for gaps.
      groups: Group of each network; pairs count within groups only.
      draws: How many.
    """

    def __init__(self, values: np.ndarray, groups: np.ndarray, draws: int = 1000, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        count, seeds = values.shape
        times = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws).astype(np.float64)
        known = ~np.isnan(values)
        weight = times @ known.T
        self._means = np.divide(times @ np.where(known, values, 0.0).T, weight, where=weight > 0, out=weight * 0)
        # A network none of whose seeds was drawn is not in the draw.
        drawn = rng.multinomial(count, np.full(count, 1 / count), draws)
        self._times = np.where(weight > 0, drawn, 0).astype(np.float32)
        self._signs = _signs(self._means)
        self._pairs = _pairs(values, groups)

    def kendall(self, scores: np.ndarray) -> tuple[float, float]:
        """Returns the 95 % interval of Kendall's tau-b."""
        return _interval(_tau(_signs(scores), self._signs, self._times, self._pairs))

    def spearman(self, scores: np.ndarray) -> tuple[float, float]:
        """Returns the 95 % interval of Spearman's correlation, over all pairs whatever their groups."""
        found = []
        for times, means in zip(self._times.astype(int), self._means, strict=True):
            rows = np.repeat(np.arange(len(times)), times)
            found.append(_pearson(rankdata(scores[rows]), rankdata(means[rows])))
        return _interval(np.array(found))


def _interval(values: np.ndarray) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def _signs(values: np.ndarray) -> np.ndarray:
    """Returns the signs of all differences, shape (..., networks, networks)."""
    return np.sign(values[..., :, None] - values[..., None, :]).astype(np.float32)


def _pairs(values: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Returns 1 for each pair of networks that counts: all of them, or those of the same group."""
    groups = np.zeros(len(values)) if groups is None else groups
    return (groups[:, None] == groups[None, :]).astype(np.float32)


def _tau(first: np.ndarray, second: np.ndarray, times: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Returns tau-b of networks that are there so many times each, shape (draws,).

    Args:
      first: Signs, shape (networks, networks).
      second: Signs, shape (networks, networks) or (draws, networks, networks).
      times: Shape (draws, networks).
      pairs: Which pairs count, shape (networks, networks).
    """

    def total(signs: np.ndarray) -> np.ndarray:
        return np.einsum("di,di->d", times, np.matmul(signs * pairs, times[:, :, None])[..., 0])

    scale = np.sqrt(total(np.abs(first)) * total(np.abs(second)))
    return np.divide(total(first * second), scale, where=scale > 0, out=np.full(len(times), np.nan))


def _ranks(values: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Returns ranks; with groups those within each, around the group's mean."""
    if groups is None:
        return rankdata(values)
    ranks = np.zeros(len(values))
    for group in np.unique(groups):
        rows = groups == group
        ranks[rows] = rankdata(values[rows]) - (rows.sum() + 1) / 2
    return ranks


def _pearson(first: np.ndarray, second: np.ndarray) -> np.floating:
    first, second = first - first.mean(), second - second.mean()
    scale = np.sqrt((first @ first) * (second @ second))
    return (first @ second) / scale if scale else np.float64(np.nan)
