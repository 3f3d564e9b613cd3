"""The last steps of a search where measuring is exact and cheap: single swaps that help, tried on the device itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.proposal import Proposal
from keras_actnas.search import readings
from keras_actnas.search.local_search import solve_local
from keras_actnas.search.measuring import Measuring
from keras_actnas.search.scoring import Scoring
from keras_actnas.search.settings import SearchSettings
from keras_actnas.search.stopwatch import Stopwatch


class UnmeasurableError(InputError):
    """The device cannot run a network that the local search came upon."""


def polished(
    proposals: Sequence[Proposal], measuring: Measuring, scoring: Scoring, settings: SearchSettings, watch: Stopwatch
) -> list[Proposal]:
    """Returns proposals, the first of which a local search on device and score cannot improve, within its budget.

    The tables' sums are close, not equal, to what an estimator of an NPU says, and a score's table is further off. Each
    network that is looked at goes into the journal like any other.

    Args:
      proposals: Where the local search starts from, the best first.
      measuring: The device's side of the search; the device is exact.
      scoring: The proxy's side.
      settings: What is searched for; `evaluations` is the budget.
      watch: Times what is done.
    """

    def measure(assignment: Assignment) -> dict[str, float]:
        with watch("polish"):
            made = measuring.measure([assignment], 1, "round")
        if failed := readings.failures(made):
            raise UnmeasurableError(failed[assignment])
        values = {one.metric: one.samples[0] for one in made[assignment]}
        _, estimates = scoring.estimates([assignment])
        return {**values, settings.kind.name: estimates[assignment].value}

    try:
        best = solve_local(
            measure,
            measuring.reference,
            settings.minimize,
            settings.constraints,
            maximize=settings.maximize,
            activations=measuring.activations,
            rules=settings.rules,
            starts=[row.assignment for row in proposals],
            evaluations=settings.evaluations,
            seed=settings.seed,
        )
    except UnmeasurableError:
        return list(proposals)
    others = [row for row in proposals if len(row.assignment.swaps(best.assignment)) >= settings.min_distance]
    return [dataclasses.replace(best, measured={}), *others][: settings.top_k]
