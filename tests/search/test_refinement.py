"""Proposals that keep the bounds on scores as computed: the real solver, and scores that are no sum of effects."""

import numpy as np
import pytest

from keras_actnas.core import Assignment, Constraint, Estimate, MetricTable
from keras_actnas.search import SearchSettings, solve_ilp
from keras_actnas.search.ilp import InfeasibleError
from keras_actnas.search.refinement import Refinement

REFERENCE = Assignment.uniform([f"site{number}" for number in range(10)], "silu")


def table(metric, effect):
    delta = np.tile([0.0, effect], (len(REFERENCE), 1))
    return MetricTable(metric, "", REFERENCE, ("silu", "relu"), Estimate(0.0, 0.0), delta, np.zeros(delta.shape))


def refinement(power, bound, rounds=6):
    """A score that is 0 for the reference, 0.01 for one swap, and grows with a power of their number."""
    settings = SearchSettings(
        activations=("silu", "relu"), proxy="sensitivity", constraints=(bound,), rounds=rounds, top_k=1
    )

    def score(assignment):
        return 0.01 * len(assignment.swaps(REFERENCE)) ** power

    def solve(tables, constraints):
        return solve_ilp(tables, minimize="latency", constraints=constraints, top_k=1).proposals

    def missed(assignments):
        return [max(bound.shortfall(score(assignment), 0.0) for assignment in assignments)]

    # The table stays what single swaps say: only the margin can mend it.
    made = Refinement(solve, lambda also: table("sensitivity", 0.01), missed, settings)
    return made, score


@pytest.mark.parametrize("power", [1.3, 2, 3])
def test_a_margin_that_no_network_could_keep_is_halved(power):
    """Ten swaps look like 0.1; they miss the bound by more than the bound, which no score of 0 or more can mend."""
    bound = Constraint.parse("sensitivity<=0.1")
    search, score = refinement(power, bound)
    (best, *_), _ = search.run({"latency": table("latency", -1.0), "sensitivity": table("sensitivity", 0.01)})
    assert score(best.assignment) <= 0.1
    # As many swaps as the bound allows, or one fewer.
    most = int(10 ** (1 / power))
    assert most - 1 <= len(best.assignment.swaps(REFERENCE)) <= most


def test_a_bound_that_nothing_keeps():
    search, _ = refinement(1, Constraint.parse("sensitivity<=-0.1"))
    with pytest.raises(InfeasibleError):
        search.run({"latency": table("latency", -1.0), "sensitivity": table("sensitivity", 0.01)})


def test_a_noisy_score_needs_no_margin_but_the_table_that_was_fitted_again():
    """The first table promises what no network keeps; the second has learnt it, and is solved with as it is."""
    bound = Constraint.parse("fine_tuned<=0.05")
    settings = SearchSettings(
        activations=("silu", "relu"), train_data="data:load", constraints=(bound,), rounds=4, top_k=1, confidence=0.5
    )
    asked = []

    def solve(tables, constraints):
        asked.append(constraints)
        return solve_ilp(tables, minimize="latency", constraints=constraints, top_k=1).proposals

    def missed(assignments):
        return [max(bound.shortfall(0.02 * len(one.swaps(REFERENCE)), 0.0) for one in assignments)]

    made = Refinement(solve, lambda also: table("fine_tuned", 0.02), missed, settings)
    (best,), tables = made.run({"latency": table("latency", -1.0), "fine_tuned": table("fine_tuned", 0.01)})
    assert len(best.assignment.swaps(REFERENCE)) == 2 and tables["fine_tuned"].delta.max() == 0.02
    assert asked == [[bound], [bound]]
