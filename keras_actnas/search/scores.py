"""Scores assignments without training, into a journal, and reads the scores back."""

from __future__ import annotations

import collections
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.curves import curve_difference
from keras_actnas.core.journal import Journal, Measurement
from keras_actnas.core.table import Estimate
from keras_actnas.search.progress import Progress
from keras_actnas.search.proxies.registry import Proxy
from keras_actnas.search.proxies.tasks import Compute, Task, check_score, compute_here, in_order
from keras_actnas.search.tables import Observation

Start = tuple[int | None, int]
"""What scores are paired by: seed of the initial weights, None for the model's own, and number of the batch."""


def score_assignments(
    proxies: Sequence[Proxy],
    assignments: Sequence[Assignment],
    starts: Sequence[Start],
    journal: Journal,
    *,
    reference: Assignment,
    model_hash: str,
    purpose: str,
    progress: Progress | None = None,
    compute: Compute | None = None,
) -> list[Measurement]:
    """Scores every assignment with every seed and batch, where the journal does not have it yet.

    Args:
      proxies: One for each batch of images, all of one kind.
      assignments: What to score.
      starts: Seeds and batches to score with.
      journal: Where every score goes as soon as it is computed, with the reference's score of the same seed and batch.
      reference: The reference network's assignment.
      model_hash: Fingerprint of the model that the journal is about.
      purpose: "design" or "verify"; a score is the same for both, so one that was made for another purpose is taken.
      progress: Wraps the assignments that are left, for a progress bar.
      compute: Computes the scores; by default here, one after the other.

    Returns:
      One measurement for every different assignment and every start.

    Raises:
      InputError: A score is NaN or infinite, which is not journalled, or cannot be computed.
    """
    metric, compute = proxies[0].metric, compute or compute_here(proxies)
    known = [proxy.conditions for proxy in proxies]
    done = {(_start_of(m), m.assignment.digest): m for m in journal.select(metric) if _conditions(m) in known}
    for position, (seed, batch) in enumerate(starts, start=1):
        conditions = {**proxies[batch].conditions, "seed": seed}
        start = _start(conditions)
        wanted = in_order(dict.fromkeys([reference, *assignments]), reference)
        left = [assignment for assignment in wanted if (start, assignment.digest) not in done]
        label = f"{metric} ({purpose}, seed {position} of {len(starts)})"
        tasks = (Task(one, seed, batch) for one in (progress(left, label) if progress and left else left))
        first = itertools.islice(tasks, int(reference in left))  # What the others are journalled beside.
        for task, score in itertools.chain(compute(first), compute(tasks)):
            check_score(score, metric, task, reference)
            own = done.get((start, reference.digest))
            made = Measurement(
                metric,
                proxies[batch].unit,
                task.assignment,
                (score,),
                (own.samples[0] if own else score,),
                purpose=purpose,
                model=model_hash,
                conditions=conditions,
            )
            journal.append(made)
            done[(start, task.assignment.digest)] = made
    keys = dict.fromkeys(_start({**proxies[batch].conditions, "seed": seed}) for seed, batch in starts)
    return [done[(start, assignment.digest)] for assignment in dict.fromkeys(assignments) for start in keys]


def score_observations(measurements: Sequence[Measurement]) -> list[tuple[Estimate, list[Observation]]]:
    """Returns, for every start, the reference's score and what the measurements say of the differences to it.

    A score is computed, not measured: the observations have no error of their own.
    """
    by_start: dict[_Key, list[Measurement]] = collections.defaultdict(list)
    for measurement in measurements:
        by_start[_start_of(measurement)].append(measurement)
    return [
        (
            Estimate(made[0].reference_samples[0], 0.0),
            [Observation(m.assignment, m.samples[0] - m.reference_samples[0], float("nan")) for m in made],
        )
        for made in by_start.values()
    ]


def score_estimates(
    measurements: Sequence[Measurement], reference: Assignment, noise: float = math.nan
) -> tuple[Estimate, dict[Assignment, Estimate]]:
    """Returns the reference's score and, for each assignment, the mean over its seeds and batches.

    The error of an assignment's score is that of its difference to the reference, both with the same seeds and batches,
    as an estimate of the mean over all initializations and images. Three of them tell little of their own
    spread, so it is averaged with the one that is usual, among all the assignments, for a network as far from the
    reference. Of one seed and batch it is that of the `noise` that each score has, NaN where that is not known.
    """
    references = {_start_of(m): m.reference_samples[0] for m in measurements}
    own = Estimate(float(np.mean(list(references.values()))), 0.0)
    groups: dict[Assignment, list[float]] = collections.defaultdict(list)
    for measurement in measurements:
        groups[measurement.assignment].append(measurement.samples[0] - measurement.reference_samples[0])
    variance = {a: float(np.var(deltas, ddof=1)) if len(deltas) > 1 else np.nan for a, deltas in groups.items()}
    distance = {assignment: _distance(assignment, reference) for assignment in groups}
    usual = float(np.mean([variance[a] / distance[a] for a in groups if distance[a] > 0] or [np.nan]))
    estimates = {}
    for assignment, deltas in groups.items():
        spread = (variance[assignment] + usual * distance[assignment]) / 2 if any(deltas) else variance[assignment]
        error = float(np.sqrt(spread / len(deltas))) if len(deltas) > 1 else math.sqrt(2) * noise
        estimates[assignment] = Estimate(own.value + float(np.mean(deltas)), error)
    return own, estimates


_Key = tuple[Any, Any]


def _start(conditions: Mapping[str, Any]) -> _Key:
    """Returns what tells one start from another: the images, where they count, and the seed."""
    return conditions.get("images"), conditions["seed"]


def _start_of(measurement: Measurement) -> _Key:
    return _start(measurement.conditions)


def _conditions(measurement: Measurement) -> dict[str, Any]:
    """Returns the conditions of a score without its seed."""
    return {key: value for key, value in measurement.conditions.items() if key != "seed"}


def _distance(assignment: Assignment, reference: Assignment) -> float:
    """Returns how far a network is from the reference: the sum of E[(f - f_ref)^2] over its sites."""
    return sum(_curve_distance(name, reference[site]) for site, name in assignment.swaps(reference).items())


@functools.cache
def _curve_distance(name: str, reference: str) -> float:
    return float(curve_difference([name], reference)[0, 0])
