"""What the trainings of a study say: the effect of each assignment, how well it is known, what a proxy could reach."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from correlation import kendall, spearman

from keras_actnas.core import Assignment, InputError


@dataclasses.dataclass(frozen=True)
class Trainings:
    """Trained assignments of one network.

    Attributes:
      names: What the assignments are called.
      assignments: The assignments.
      values: What was measured, higher is better, shape (assignments, seeds); NaN where nothing has been trained yet.
    """

    names: tuple[str, ...]
    assignments: tuple[Assignment, ...]
    values: np.ndarray

    def at(self, rows: np.ndarray) -> Trainings:
        """Returns some of the assignments: those at the indices, or where a mask is true."""
        numbers = np.arange(len(self.names))[rows]
        names, assignments = ([part[number] for number in numbers] for part in (self.names, self.assignments))
        return Trainings(tuple(names), tuple(assignments), self.values[numbers])


def read_trainings(path: str | Path, metric: str) -> Trainings:
    """Reads the lines that a trainer of the study wrote.

    Args:
      path: JSON lines.
      metric: Key of the value. One with "loss" in its name is negated, so that higher is better.

    Raises:
      InputError: The file is missing or empty, a line is damaged or lacks the metric, or the recipes differ.
    """
    try:
        whole, _, _ = Path(path).read_text().rpartition("\n")  # The last line may be being written.
        lines = [json.loads(line) for line in whole.splitlines()]
        found = {(line["name"], line["seed"]): float(line[metric]) for line in lines}
        assignments = {line["name"]: Assignment(line["assignment"]) for line in lines}
        recipes = {json.dumps(line["recipe"], sort_keys=True) for line in lines}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"Expected trainings with {metric!r} in each line (--trainings, --metric). Received: {path} "
            f"({type(error).__name__}: {error})."
        ) from error
    if len(recipes) != 1:
        raise InputError(f"Expected trainings of one recipe in {path}. Received: {', '.join(recipes) or 'none'}.")
    seeds = sorted({seed for _, seed in found})
    values = np.array([[found.get((name, seed), np.nan) for seed in seeds] for name in assignments])
    return Trainings(tuple(assignments), tuple(assignments.values()), -values if "loss" in metric else values)


@dataclasses.dataclass(frozen=True)
class Effects:
    """Variance components of value = mean + assignment + seed + noise; a seed's part is common to all assignments.

    Attributes:
      values: Mean of each assignment over its seeds, without what the seeds have in common.
      counts: How many seeds each has been trained with.
      seeds: What each seed is above the mean by.
      noise: Variance of one training around that; NaN where no assignment has a second seed.
    """

    values: np.ndarray
    counts: np.ndarray
    seeds: np.ndarray
    noise: float

    @property
    def errors(self) -> np.ndarray:
        """Standard error of each assignment's mean."""
        return np.sqrt(self.noise / self.counts)


def effects(values: np.ndarray) -> Effects:
    """Returns the effects by least squares in the two-way layout without repetition, which may have gaps.

    Args:
      values: Shape (assignments, seeds); NaN for a gap, at least one value in each row.
    """
    rows, columns = np.nonzero(~np.isnan(values))
    count, seeds = values.shape
    design = np.zeros((len(rows), count + seeds))
    design[np.arange(len(rows)), rows] = design[np.arange(len(rows)), count + columns] = 1.0
    observed = values[rows, columns]
    solution, _, rank, _ = np.linalg.lstsq(design, observed, rcond=None)
    freedom = len(rows) - rank
    noise = float(np.sum((observed - design @ solution) ** 2) / freedom) if freedom else np.nan
    shift = solution[count:].mean()
    return Effects(solution[:count] + shift, np.bincount(rows, minlength=count), solution[count:] - shift, noise)


def between(effect: Effects, groups: np.ndarray) -> float:
    """Returns the variance between assignments that is no noise, within groups; by the method of moments, 0 at least.

    Args:
      effect: The effects.
      groups: Number of the group of each assignment, such as its band of latency.
    """
    _, group = np.unique(groups, return_inverse=True)
    away = _within(effect.values, group)
    freedom = len(away) - (group.max() + 1)
    return max(float(np.sum(away**2) / freedom - np.mean(effect.errors**2)), 0.0)


def ceilings(effect: Effects, groups: np.ndarray, draws: int = 500, seed: int = 0) -> tuple[float, float]:
    """Returns the Kendall and Spearman correlations that the true effects themselves would have with the means.

    By simulation from the variance components: the effects, shrunk within groups to the variance that is no noise, keep
    their shape and are taken as the truth; each draw adds the noise of a mean over seeds. NaN where the noise is not
    known.
    """
    _, group = np.unique(groups, return_inverse=True)
    away = _within(effect.values, group)
    spread = float(np.sum(away**2))
    if np.isnan(effect.noise) or not spread:
        return np.nan, np.nan
    freedom = len(away) - (group.max() + 1)
    truth = away * np.sqrt(between(effect, groups) * freedom / spread)
    noise = np.random.default_rng(seed).normal(size=(draws, len(truth))) * effect.errors
    found = [(kendall(truth, truth + one, group), spearman(truth, truth + one, group)) for one in noise]
    tau, rho = np.nanmean(found, axis=0) if truth.any() else (0.0, 0.0)
    return float(tau), float(rho)


def between_seeds(values: np.ndarray) -> tuple[float, float]:
    """Returns the mean Kendall and Spearman correlations of two seeds' values of the assignments that both have."""
    pairs = [(first, second) for second in range(values.shape[1]) for first in range(second)]
    found = []
    for first, second in pairs:
        both = ~np.isnan(values[:, [first, second]]).any(axis=1)
        if both.sum() > 2:
            one, other = values[both, first], values[both, second]
            found.append((kendall(one, other), spearman(one, other)))
    return tuple(np.mean(found, axis=0).tolist()) if found else (np.nan, np.nan)


def _within(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    means = np.bincount(group, values) / np.bincount(group)
    return values - means[group]
