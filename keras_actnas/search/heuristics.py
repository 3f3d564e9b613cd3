"""ActNAS's two searches without a solver, beside which its tables set the others: naive and LZCM (section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from keras_actnas.core import InputError, MetricTable, Proposal, canonical_name, closest
from keras_actnas.core.checks import is_whole
from keras_actnas.search.choices import Choices


def solve_naive(tables: Mapping[str, MetricTable], activation: str = "relu", count: int = 3) -> Proposal:
    """Returns the network whose first activations are exchanged, where the feature maps are large (section 3.3.2).

    Args:
      tables: Metric -> table, all of the same model; the first one's sites are in the order of execution.
      activation: What the first sites get. One where a table has no value for it is passed over, and the next counts.
      count: How many sites get it.

    Returns:
      The proposal "naive", with what every table predicts.

    Raises:
      InputError: `count` is no positive integer, no site can have the activation, or the tables are of different
        models.

    >>> from keras_actnas.core import Assignment, Estimate
    >>> silu = Assignment.uniform(["stem", "neck", "head"], "silu")
    >>> delta = np.array([[0, -2.0], [0, -1.0], [0, -1.0]])
    >>> latency = MetricTable("latency", "ms", silu, ("silu", "relu"), Estimate(10.0), delta, np.zeros((3, 2)))
    >>> naive = solve_naive({"latency": latency}, count=2)
    >>> dict(naive.assignment), naive.predicted["latency"].value
    ({'stem': 'relu', 'neck': 'relu', 'head': 'silu'}, 7.0)
    """
    if not is_whole(count) or count < 1:
        raise InputError(f"Expected count to be an integer of at least 1. Received: {count!r}.")
    choices = _choices(tables)
    usable = choices.usable[:, _column(choices, activation)]
    return _proposal("naive", choices, activation, np.flatnonzero(usable)[:count].tolist())


def solve_lzcm(tables: Mapping[str, MetricTable], activation: str = "relu", score: str = "nwot") -> Proposal:
    """Returns the network that exchanges an activation wherever that alone raises the score (section 3.3.1).

    The paper's LZCM1 mixes SiLU with ReLU, LZCM2 with hard-swish (so its tables 1 and 2; its section 3.3.1 names
    hard-swish and ReLU).

    Args:
      tables: Metric -> table, all of the same model.
      activation: What is exchanged for the reference's own. A site where a table has no value for it keeps its own.
      score: The metric that says whether an exchange is kept: the higher, the better.

    Returns:
      The proposal "lzcm-relu", with what every table predicts; the reference network where no exchange helps.

    Raises:
      InputError: The score has no table, no site can have the activation, or the tables are of different models.
    """
    if score not in tables:
        raise InputError(f"Expected a score that has a table. Received: {score!r}.{closest(score, tables)}")
    choices = _choices(tables)
    better = choices.delta[score][:, _column(choices, activation)] > 0
    return _proposal(f"lzcm-{canonical_name(activation)}", choices, activation, np.flatnonzero(better).tolist())


def _choices(tables: Mapping[str, MetricTable]) -> Choices:
    if not tables:
        raise InputError("Expected at least one metric table. Received: none.")
    return Choices(tables, tables)


def _column(choices: Choices, activation: str) -> int:
    """Returns the column of an activation that some site can have."""
    name = canonical_name(activation)
    can = [other for other, usable in zip(choices.activations, choices.usable.T, strict=True) if usable.any()]
    if name not in can:
        raise InputError(
            f"Expected an activation that every table has values for. Received: {activation!r}.{closest(name, can)}"
        )
    return choices.activations.index(name)


def _proposal(name: str, choices: Choices, activation: str, rows: Sequence[int]) -> Proposal:
    reference = next(iter(choices.tables.values())).reference
    assignment = reference.with_swaps({choices.sites[row]: activation for row in rows})
    return Proposal(name, assignment, choices.predict(assignment), status="feasible")
