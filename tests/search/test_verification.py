"""Choosing among proposals: margins, several rounds, and ranks that luck does not decide."""

import dataclasses

import numpy as np
import pytest

from keras_actnas.core import Assignment, Constraint, Estimate, Measurement, MetricTable, Proposal
from keras_actnas.search import SearchSettings
from keras_actnas.search.refinement import MarginSearch, choose
from keras_actnas.search.verification import notes, predicted_metrics, rank

REFERENCE = Assignment.uniform(["a", "b", "c"], "silu")
SETTINGS = SearchSettings(activations=("silu", "relu"), top_k=2, min_distance=2)
TABLE = MetricTable(
    "latency",
    "ms",
    REFERENCE,
    ("silu", "relu"),
    Estimate(100.0, 0.1),
    np.array([[0, -1.0], [0, -2.0], [0, -4.0]]),
    np.zeros((3, 2)),
)


def proposal(*sites, latency=None, predicted=None, nwot=10.0):
    measured = {} if latency is None else {"latency": latency, "nwot": Estimate(nwot, 0.1)}
    assignment = REFERENCE.with_swaps(dict.fromkeys(sites, "relu"))
    return Proposal("-".join(sites), assignment, {} if predicted is None else {"latency": predicted}, measured)


def test_a_margin_is_raised_until_it_is_enough_and_then_halved():
    search = MarginSearch()
    shares = [search.share]
    for kept in (False, False, True, True, False):
        search.report(kept)
        shares.append(search.share)
    assert shares == [0, 1, 2, 1.5, 1.25, 1.375]


def test_choose_takes_what_keeps_the_bounds_first_then_the_fastest_apart():
    found = [proposal("a"), proposal("b"), proposal("c"), proposal("a", "b"), proposal("a", "b", "c")]
    kept = {row.assignment for row in (found[0], found[1], found[3])}
    chosen = choose(found, kept, {"latency": TABLE}, SETTINGS)
    # a-b is the fastest that keeps; a and b are too close to it; a-b-c breaks a bound and is too close, c is not.
    assert [list(row.assignment.swaps(REFERENCE)) for row in chosen] == [["a", "b"], ["c"]]
    assert [row.name for row in chosen] == ["ilp-1", "ilp-2"]


def test_rank_does_not_trust_a_lucky_measurement():
    reference = proposal(latency=Estimate(100.0, 0.1))
    lucky = proposal("a", latency=Estimate(80.0, 10.0), predicted=Estimate(99.0, 1.0))
    sure = proposal("b", latency=Estimate(95.0, 0.5), predicted=Estimate(95.0, 1.0))
    broken = proposal("c", latency=Estimate(50.0, 0.1), predicted=Estimate(50.0, 0.1), nwot=5.0)
    settings = SearchSettings(constraints=(Constraint.parse("nwot>=reference"),))
    assert rank([lucky, broken, sure], reference, settings) == [sure, lucky, broken]
    maximize = SearchSettings(minimize=None, maximize="nwot", constraints=())
    assert rank([broken, lucky], reference, maximize) == [lucky, broken]


def test_predictions_are_those_that_had_not_seen_the_network():
    reference = {"latency": Estimate(50.0, 0.1)}
    proposed = proposal("a", predicted=Estimate(90.0, 2.0))
    assert predicted_metrics(proposed, {"latency": TABLE}, reference) == {"latency": Estimate(45.0, 1.0)}
    other = predicted_metrics(proposal("a"), {"latency": TABLE}, reference)
    assert other["latency"].value == pytest.approx(49.5)


def test_a_metric_of_which_the_reference_has_nothing():
    """As DRAM traffic on a system without DRAM."""
    table = dataclasses.replace(TABLE, metric="dram", unit="KiB", reference_value=Estimate(0.0, 0.0))
    predicted = predicted_metrics(proposal("a"), {"dram": table}, {"dram": Estimate(0.0, 0.0)})
    assert predicted["dram"].value == -1.0


def test_a_bound_is_tightened_to_the_harder_side():
    assert Constraint.parse("nwot>=reference").tightened(0.5) == Constraint.parse("nwot>=reference+0.5")
    assert Constraint.parse("latency<=90%").tightened(2.0).bound(100.0) == 88.0


def test_a_table_without_a_value_predicts_nothing():
    """As of an activation that too small a design never showed at a site."""
    holes = np.array([[0, np.nan], [0, -2.0], [0, -4.0]])
    table = dataclasses.replace(TABLE, delta=holes)
    assert predicted_metrics(proposal("a"), {"latency": table}, {"latency": Estimate(100.0)}) == {}
    assert set(predicted_metrics(proposal("b"), {"latency": table}, {"latency": Estimate(100.0)})) == {"latency"}


def test_notes_say_what_is_alike_once():
    def made(row, **conditions):
        failure = conditions.pop("failure", "")
        return Measurement("latency", "ms", row.assignment, (), conditions=conditions, failure=failure)

    rows = [proposal(), proposal("a"), proposal("b"), proposal("c")]
    rows = [dataclasses.replace(row, name=name) for row, name in zip(rows, ("reference", "x", "y", "z"), strict=True)]
    conditions = [{"partitions": 3}, {"partitions": 3}, {"partitions": 5}, {"failure": "no kernel"}]
    measured = {row.assignment: [made(row, **kept)] for row, kept in zip(rows, conditions, strict=True)}
    lines = notes(rows, measured)
    assert [line.split(":")[0] for line in lines] == ["reference", "y", "z"]
    assert "in 3 parts" in lines[0] and "in 5 parts" in lines[1] and "cannot be run: no kernel" in lines[2]
    whole = {row.assignment: [made(row, partitions=1)] for row in rows}
    assert notes(rows, whole) == []
