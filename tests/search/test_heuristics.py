"""The paper's searches without a solver: what they take, and what they leave alone."""

import doctest
import itertools

import numpy as np
import pytest

from keras_actnas.core import Assignment, Estimate, InputError, MetricTable
from keras_actnas.search import heuristics, solve_lzcm, solve_naive

NAN = float("nan")
ACTIVATIONS = ("silu", "relu", "hard_swish")
SILU = Assignment.uniform(["a", "b", "c", "d", "e"], "silu")


def make_table(metric, relu, hard_swish, value=100.0, reference=SILU):
    delta = np.array([[0.0, *row] for row in zip(relu, hard_swish, strict=True)])
    return MetricTable(metric, "", reference, ACTIVATIONS, Estimate(value), delta, np.zeros_like(delta))


LATENCY = make_table("latency", [-5, -4, -3, -2, -1], [-2, -2, NAN, -1, -1], 20.0)
NWOT = make_table("nwot", [0.5, -1, 0, 2, 1], [1, 1, 1, -1, -1])
TABLES = {"latency": LATENCY, "nwot": NWOT}


def swapped(proposal):
    return proposal.assignment.swaps(SILU)


def test_naive_takes_the_first_sites():
    proposal = solve_naive(TABLES)
    assert proposal.name == "naive"
    assert swapped(proposal) == {"a": "relu", "b": "relu", "c": "relu"}
    assert list(proposal.assignment) == list(SILU)
    assert proposal.predicted == {"latency": Estimate(8.0, 0.0), "nwot": Estimate(99.5, 0.0)}
    assert swapped(solve_naive(TABLES, "ReLU", 1)) == {"a": "relu"}
    assert len(swapped(solve_naive(TABLES, count=9))) == 5


def test_naive_passes_over_what_a_table_has_no_value_for():
    assert swapped(solve_naive(TABLES, "hard_swish")) == {"a": "hard_swish", "b": "hard_swish", "d": "hard_swish"}


def test_lzcm_keeps_what_raises_the_score():
    proposal = solve_lzcm(TABLES)
    assert proposal.name == "lzcm-relu"
    assert swapped(proposal) == {"a": "relu", "d": "relu", "e": "relu"}
    assert proposal.predicted == {"latency": Estimate(12.0, 0.0), "nwot": Estimate(103.5, 0.0)}
    second = solve_lzcm(TABLES, "hard_swish")
    assert second.name == "lzcm-hard_swish"
    assert swapped(second) == {"a": "hard_swish", "b": "hard_swish"}  # "c" is better, too, but cannot be.


def test_lzcm_is_the_best_of_all_mixtures_by_the_sum_of_scores():
    best = max(
        NWOT.predict(Assignment(zip(SILU, names, strict=True))).value
        for names in itertools.product(["silu", "relu"], repeat=5)
    )
    assert solve_lzcm({"nwot": NWOT}).predicted["nwot"].value == best


def test_another_score():
    tables = {**TABLES, "accuracy": make_table("accuracy", [0, 0, 1, 0, 0], [0, 0, 0, 0, 0])}
    assert swapped(solve_lzcm(tables, score="accuracy")) == {"c": "relu"}
    assert swapped(solve_lzcm(tables, "hard_swish", score="accuracy")) == {}


def test_rows_of_other_tables_may_come_in_another_order():
    reference = Assignment.uniform("edcba", "silu")
    other = make_table("nwot", [1, 2, 0, -1, 0.5], [0, 0, 0, 0, 0], reference=reference)
    assert swapped(solve_lzcm({"latency": LATENCY, "nwot": other})) == {"a": "relu", "d": "relu", "e": "relu"}
    assert swapped(solve_naive({"nwot": other, "latency": LATENCY}, count=1)) == {"e": "relu"}


def test_a_site_that_has_the_activation_already():
    reference = SILU.with_swaps({"b": "relu"})
    delta = np.array([[0, -1, 0], [1, 0, 0], [0, -1, 0], [0, -1, 0], [0, -1, 0.0]])
    table = MetricTable("latency", "ms", reference, ACTIVATIONS, Estimate(9.0), delta, np.zeros_like(delta))
    assert solve_naive({"latency": table}).assignment.counts() == {"relu": 3, "silu": 2}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solve_naive(TABLES, count=0), "count to be an integer of at least 1. Received: 0"),
        (lambda: solve_naive(TABLES, count=1.5), "count to be an integer of at least 1. Received: 1.5"),
        (lambda: solve_naive({}), "Expected at least one metric table. Received: none"),
        (lambda: solve_naive(TABLES, "elu"), "activation that every table has values for. Received: 'elu'"),
        (lambda: solve_lzcm(TABLES, "elu"), "activation that every table has values for. Received: 'elu'"),
        (lambda: solve_lzcm(TABLES, score="nwo"), "score that has a table. Received: 'nwo'. Did you mean 'nwot'"),
        (
            lambda: solve_lzcm({"nwot": NWOT, "x": make_table("x", [NAN] * 5, [0] * 5)}),
            "every table has values for. Received: 'relu'",
        ),
    ],
)
def test_what_cannot_be_solved(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_the_examples_run():
    result = doctest.testmod(heuristics)
    assert result.attempted
    assert not result.failed
