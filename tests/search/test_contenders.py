"""Contenders: measured where the tables leave the choice open, and nowhere else."""

import numpy as np
import pytest

from keras_actnas.core import Assignment, Constraint, Estimate, InputError, MetricTable
from keras_actnas.search.contenders import contenders
from keras_actnas.search.ilp import InfeasibleError
from keras_actnas.search.rules import Rules

SILU = Assignment.uniform("abc", "silu")


def table(delta, error, covariance=None, metric="latency"):
    delta, error = np.array(delta, float), np.array(error, float)
    return MetricTable(metric, "ms", SILU, ("silu", "relu"), Estimate(10.0), delta, error, covariance=covariance)


OPEN_AT_B = table([[0, -3], [0, -0.1], [0, 3]], [[0, 0.1], [0, 1], [0, 0.1]])


def test_only_the_open_site_varies():
    found = contenders({"latency": OPEN_AT_B}, 4, "latency")
    assert len(found) == 2
    assert {(one["a"], one["c"]) for one in found} == {("relu", "silu")}


def test_measured_networks_are_not_repeated():
    measured = [SILU.with_swaps({"a": "relu", "b": "relu"})]
    assert contenders({"latency": OPEN_AT_B}, 4, "latency", measured=measured) == [SILU.with_swaps({"a": "relu"})]


def test_covariance_ties_sites_together():
    covariance = np.zeros((6, 6))
    covariance[np.ix_([1, 3, 5], [1, 3, 5])] = 1.0
    tied = table([[0, -0.1]] * 3, [[0, 1]] * 3, covariance)
    assert contenders({"latency": tied}, 5, "latency") == [Assignment.uniform("abc", "relu")]


def test_rules_hold():
    assert contenders({"latency": OPEN_AT_B}, 4, "latency", rules=Rules({"b": "silu"})) == [
        SILU.with_swaps({"a": "relu"})
    ]


def test_draws_that_cannot_keep_the_constraints_are_passed_over():
    tables = {"latency": OPEN_AT_B, "cost": table([[0, -1]] * 3, [[0, 1]] * 3, metric="cost")}
    assert contenders(tables, 3, "latency", [Constraint.parse("cost<=7.5")])
    with pytest.raises(InfeasibleError):
        contenders(tables, 3, "latency", [Constraint.parse("cost<=-90")])


def test_a_count_below_one_is_refused():
    with pytest.raises(InputError, match="at least 1. Received: 0"):
        contenders({"latency": OPEN_AT_B}, 0, "latency")
