"""Scores assignments without training, into a journal, and reads the scores back as observations."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.journal import Journal, Measurement
from keras_actnas.core.table import Estimate
from keras_actnas.search.nwot import NWOTScorer
from keras_actnas.search.tables import Observation

METRIC = "nwot"
UNIT = ""

Progress = Callable[[Iterable[Assignment], str], Iterable[Assignment]]


def score_assignments(
    scorer: NWOTScorer,
    assignments: Sequence[Assignment],
    seeds: Sequence[int | None],
    journal: Journal,
    *,
    model_hash: str,
    purpose: str,
    progress: Progress | None = None,
) -> list[Measurement]:
    """Scores every assignment with every seed, where the journal does not have it yet.

    Args:
      scorer: Scores one assignment with one seed.
      assignments: What to score.
      seeds: Seeds of the initial weights; None for the weights that the model has.
      journal: Where every score goes as soon as it is computed, with the reference's score at the same seed.
      model_hash: Hash of the network that the journal is about.
      purpose: "design" or "verify"; a score is the same for both, so one that was made for another purpose is taken.
      progress: Wraps the assignments that are left, for a progress bar.

    Returns:
      One measurement for every assignment and seed.
    """
    conditions = scorer.conditions
    done = {
        (m.conditions["seed"], m.assignment.digest): m
        for m in journal.select(METRIC)
        if {key: value for key, value in m.conditions.items() if key != "seed"} == conditions
    }
    for position, seed in enumerate(seeds, start=1):
        wanted = dict.fromkeys([scorer.reference, *assignments])
        left = [assignment for assignment in wanted if (seed, assignment.digest) not in done]
        label = f"nwot ({purpose}, seed {position} of {len(seeds)})"
        for assignment in progress(left, label) if progress and left else left:
            score = scorer.score(assignment, seed)
            own = (seed, scorer.reference.digest)
            reference = done[own].samples[0] if own in done else score
            made = Measurement(
                METRIC,
                UNIT,
                assignment,
                (score,),
                (reference,),
                purpose=purpose,
                model=model_hash,
                conditions={**conditions, "seed": seed},
            )
            journal.append(made)
            done[(seed, assignment.digest)] = made
    return [done[(seed, assignment.digest)] for assignment in assignments for seed in seeds]


def score_estimates(measurements: Sequence[Measurement]) -> tuple[Estimate, dict[Assignment, Estimate]]:
    """Returns the reference's score and, for each assignment, the mean over its seeds.

    The error of an assignment's score is that of its difference to the reference, both with the same seeds; it comes
    from the spread of that difference between seeds, pooled over all assignments, and is NaN for a single seed.
    """
    references = {m.conditions["seed"]: m.reference_samples[0] for m in measurements}
    groups: dict[Assignment, list[float]] = collections.defaultdict(list)
    for measurement in measurements:
        groups[measurement.assignment].append(measurement.samples[0] - measurement.reference_samples[0])
    variances = [np.var(deltas, ddof=1) for deltas in groups.values() if len(deltas) > 1 and any(deltas)]
    spread = math.sqrt(np.mean(variances)) if variances else math.nan
    reference = Estimate(float(np.mean(list(references.values()))), 0.0)
    return reference, {
        assignment: Estimate(reference.value + float(np.mean(deltas)), spread / math.sqrt(len(deltas)))
        for assignment, deltas in groups.items()
    }


def score_observations(measurements: Sequence[Measurement]) -> tuple[Estimate, list[Observation]]:
    """Returns the reference's score and what the measurements say of the differences to it."""
    reference, estimates = score_estimates(measurements)
    return reference, [
        Observation(assignment, estimate.value - reference.value, estimate.standard_error)
        for assignment, estimate in estimates.items()
    ]
