"""Scores assignments without training, into a journal, and reads the scores back."""

from __future__ import annotations

import collections
import functools
from collections.abc import Sequence

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.curves import curve_difference
from keras_actnas.core.journal import Journal, Measurement
from keras_actnas.core.table import Estimate
from keras_actnas.search.metrics import NWOT
from keras_actnas.search.nwot import NWOTScorer
from keras_actnas.search.progress import Progress
from keras_actnas.search.tables import Observation

METRIC = NWOT
UNIT = ""


def score_assignments(
    scorer: NWOTScorer,
    assignments: Sequence[Assignment],
    seeds: Sequence[int | None],
    journal: Journal,
    *,
    reference: Assignment,
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
      reference: The reference network's assignment.
      model_hash: Fingerprint of the model that the journal is about.
      purpose: "design" or "verify"; a score is the same for both, so one that was made for another purpose is taken.
      progress: Wraps the assignments that are left, for a progress bar.

    Returns:
      One measurement for every different assignment and every seed.
    """
    done = {
        (m.conditions["seed"], m.assignment.digest): m
        for m in journal.select(METRIC)
        if {key: value for key, value in m.conditions.items() if key != "seed"} == scorer.conditions
    }
    for position, seed in enumerate(seeds, start=1):
        wanted = dict.fromkeys([reference, *assignments])
        left = [assignment for assignment in wanted if (seed, assignment.digest) not in done]
        label = f"nwot ({purpose}, seed {position} of {len(seeds)})"
        for assignment in progress(left, label) if progress and left else left:
            score = scorer.score(assignment, seed)
            own = (seed, reference.digest)
            made = Measurement(
                METRIC,
                UNIT,
                assignment,
                (score,),
                (done[own].samples[0] if own in done else score,),
                purpose=purpose,
                model=model_hash,
                conditions={**scorer.conditions, "seed": seed},
            )
            journal.append(made)
            done[(seed, assignment.digest)] = made
    return [done[(seed, assignment.digest)] for assignment in dict.fromkeys(assignments) for seed in seeds]


def score_observations(measurements: Sequence[Measurement]) -> dict[int | None, tuple[Estimate, list[Observation]]]:
    """Returns, for every seed, the reference's score and what the measurements say of the differences to it.

    A score is computed, not measured: the observations have no error of their own.
    """
    by_seed: dict[int | None, list[Measurement]] = collections.defaultdict(list)
    for measurement in measurements:
        by_seed[measurement.conditions["seed"]].append(measurement)
    return {
        seed: (
            Estimate(made[0].reference_samples[0], 0.0),
            [Observation(m.assignment, m.samples[0] - m.reference_samples[0], float("nan")) for m in made],
        )
        for seed, made in by_seed.items()
    }


def score_estimates(
    measurements: Sequence[Measurement], reference: Assignment
) -> tuple[Estimate, dict[Assignment, Estimate]]:
    """Returns the reference's score and, for each assignment, the mean over its seeds.

    The error of an assignment's score is that of its difference to the reference, both with the same seeds, as an
    estimate of the mean over all initializations. Three seeds tell little of their own spread, so it is averaged with
    the one that is usual, among all the assignments, for a network as far from the reference. It is NaN for one seed.
    """
    references = {m.conditions["seed"]: m.reference_samples[0] for m in measurements}
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
        error = float(np.sqrt(spread / len(deltas)))
        estimates[assignment] = Estimate(own.value + float(np.mean(deltas)), error)
    return own, estimates


def _distance(assignment: Assignment, reference: Assignment) -> float:
    """Returns how far a network is from the reference: the sum of E[(f - f_ref)^2] over its sites."""
    return sum(_curve_distance(name, reference[site]) for site, name in assignment.swaps(reference).items())


@functools.cache
def _curve_distance(name: str, reference: str) -> float:
    return float(curve_difference([name], reference)[0, 0])
