"""Contenders: the networks to measure next, where the tables leave open which is best."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.constraints import Constraint
from keras_actnas.core.errors import InputError
from keras_actnas.core.table import MetricTable
from keras_actnas.search.ilp import InfeasibleError, solve_ilp
from keras_actnas.search.objective import Wanted
from keras_actnas.search.rules import Rules

DRAWS = 4
"""How many draws are solved, at most, for each network that is wanted."""


def draw_table(table: MetricTable, rng: np.random.Generator) -> MetricTable:
    """Returns the table with its deltas drawn from the normal distribution of their errors.

    Cells whose error is zero or not known keep their delta. The residual is not drawn: it is a network's own, and no
    choice of activations profits from it.
    """
    noise = rng.standard_normal(table.delta.size)
    if table.covariance is None:
        error = np.nan_to_num(table.standard_error).ravel() * noise
    else:
        # eigh, as fitted covariances are often singular: reference cells are known exactly.
        values, vectors = np.linalg.eigh(np.nan_to_num(table.covariance))
        error = vectors @ (np.sqrt(np.maximum(values, 0.0)) * noise)
        error[np.nan_to_num(np.diag(table.covariance)) == 0] = 0.0
    return MetricTable(
        table.metric,
        table.unit,
        table.reference,
        table.activations,
        table.reference_value,
        table.delta + error.reshape(table.delta.shape),
        table.standard_error,
        table.context,
    )


def contenders(
    tables: Mapping[str, MetricTable],
    count: int,
    minimize: Wanted = None,
    constraints: Sequence[Constraint] = (),
    *,
    maximize: Wanted = None,
    rules: Rules | None = None,
    measured: Collection[Assignment] = (),
    seed: int = 0,
    solver: str = "highs",
) -> list[Assignment]:
    """Returns up to `count` networks to measure next: each is the best one under a draw of the tables.

    A network is the best in as many draws as it is probable to be the best (Thompson sampling; Russo et al., A Tutorial
    on Thompson Sampling, 2018), so that measurements go to the networks among which the decision is open.

    Args:
      tables: Metric -> fitted table.
      count: How many networks; fewer come back when the draws agree.
      minimize: As in `solve_ilp`.
      constraints: As in `solve_ilp`; a draw in which they cannot be kept is passed over.
      maximize: As in `solve_ilp`.
      rules: As in `solve_ilp`.
      measured: Networks that were measured; they are not repeated, nor is the reference.
      seed: Seed of the draws.
      solver: As in `solve_ilp`.

    Raises:
      InputError: `count` is below 1, or as in `solve_ilp`.
      InfeasibleError: Neither a draw nor the tables themselves keep the constraints.

    >>> from keras_actnas.core import Estimate
    >>> silu = Assignment.uniform(["stem", "head"], "silu")
    >>> delta, error = np.array([[0.0, -2.0], [0.0, -0.1]]), np.array([[0.0, 0.1], [0.0, 1.0]])
    >>> table = MetricTable("latency", "ms", silu, ("silu", "relu"), Estimate(10.0), delta, error)
    >>> sorted(network["head"] for network in contenders({"latency": table}, 2, "latency"))
    ['relu', 'silu']
    """
    if count < 1:
        raise InputError(f"Expected a count of at least 1. Received: {count}.")

    def best(of: Mapping[str, MetricTable]) -> Assignment:
        result = solve_ilp(of, minimize, constraints, maximize=maximize, rules=rules, solver=solver)
        return Assignment(result.proposals[0].assignment)

    rng = np.random.default_rng(seed)
    reference = next(iter(tables.values())).reference
    found: dict[Assignment, None] = {}
    solved = False
    for _ in range(DRAWS * count):
        draw = {metric: draw_table(table, rng) for metric, table in tables.items()}
        try:
            found[best(draw)] = None
            solved = True
        except InfeasibleError:
            continue
        if len(_unmeasured(found, reference, measured)) == count:
            break
    if not solved:
        found[best(tables)] = None
    return _unmeasured(found, reference, measured)


def _unmeasured(
    found: Collection[Assignment], reference: Assignment, measured: Collection[Assignment]
) -> list[Assignment]:
    return [one for one in found if one != reference and one not in measured]
