"""What there is to score, and scoring it in this process."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.search.proxies.registry import Proxy


class Task(NamedTuple):
    """One score to compute.

    Attributes:
      assignment: The network.
      seed: Seed of its initial weights; None for the weights that the model has.
      batch: Number of the batch of images.
    """

    assignment: Assignment
    seed: int | None
    batch: int = 0


Compute = Callable[[Iterable[Task]], Iterator[tuple[Task, float]]]
"""Takes tasks; yields each with its score as it comes, in any order."""


def compute_here(proxies: Sequence[Proxy]) -> Compute:
    """Returns what computes scores in this process, one after the other.

    Args:
      proxies: One for each batch.
    """

    def compute(tasks: Iterable[Task]) -> Iterator[tuple[Task, float]]:
        for task in tasks:
            yield task, proxies[task.batch].score(task.assignment, task.seed)

    return compute


def in_order(assignments: Iterable[Assignment], reference: Assignment) -> list[Assignment]:
    """Returns assignments with the reference first, and such that neighbours begin alike as far as possible.

    A proxy can then go on from what it has computed of the one before: see `SegmentedNetwork`.
    """

    def key(assignment: Assignment) -> list[str]:
        return ["" if assignment.get(site, name) == name else assignment[site] for site, name in reference.items()]

    return sorted(assignments, key=key)


def check_score(score: float, metric: str, task: Task, reference: Mapping[str, str]) -> None:
    """Raises `InputError` that names assignment and seed when a score is NaN or infinite."""
    if not math.isfinite(score):
        raise InputError(f"Expected a finite {metric}. Received: {score} for {described(task, reference)}.")


def described(task: Task, reference: Mapping[str, str], limit: int = 4) -> str:
    """Returns a task in words: what is exchanged, the seed, the batch."""
    swaps = [f"{site}: {name}" for site, name in task.assignment.items() if reference.get(site) != name]
    more = f" and {len(swaps) - limit} more" if len(swaps) > limit else ""
    what = f"{', '.join(swaps[:limit])}{more}" if swaps else "the reference"
    weights = "its own weights" if task.seed is None else f"seed {task.seed}"
    return f"{what} (assignment {task.assignment.digest}, {weights}, batch {task.batch})"
