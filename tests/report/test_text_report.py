"""The text tables and sentences of a report, from results made by hand."""

import dataclasses
import math

import pytest

from keras_actnas.core import Assignment, Constraint, Estimate, Proposal
from keras_actnas.report import constraint_lines, proposals_table, verdict

SILU = Assignment.uniform(["a", "b", "c"], "silu")
MIXED = SILU.with_swaps({"a": "relu", "b": "hard_swish"})
UNITS = {"latency": "ms", "nwot": ""}


def row(name, assignment, latency, nwot, predicted=None, error=0.5, nwot_error=0.25):
    measured = {"latency": Estimate(latency, error), "nwot": Estimate(nwot, nwot_error)}
    return Proposal(name, assignment, predicted or {}, measured)


REFERENCE = row("reference", SILU, 40.0, 120.0)
FAST = row("ilp-1", MIXED, 36.0, 119.0, {"latency": Estimate(35.2, 0.4), "nwot": Estimate(119.5, 0.5)})
SLOW = row("all relu", Assignment.uniform(SILU, "relu"), 44.0, 116.5)


def test_the_table_as_a_whole():
    text = proposals_table(REFERENCE, [FAST], [SLOW], UNITS)
    assert text.split("\n") == [
        "network    latency, ms         predicted          measured    nwot      predicted       measured  activations",
        "-" * 124,
        "reference        40.00                                      120.00                                3 silu",
        "ilp-1            36.00  -12.00 +- 1.00 %  -10.00 +- 1.25 %  119.00  -0.50 +- 0.50  -1.00 +- 0.25  "
        "1 hard_swish 1 relu 1 silu",
        "all relu         44.00                 -  +10.00 +- 1.25 %  116.50              -  -3.50 +- 0.25  3 relu",
    ]


def test_columns_are_aligned():
    lines = proposals_table(REFERENCE, [FAST, row("ilp-10", MIXED, 136.0, 9.0)], [SLOW], UNITS).split("\n")
    (start,) = {line.index(text) for line, text in [(lines[0], "activations"), (lines[2], "3 silu")]}
    for line in lines[2:]:
        assert line[start - 1] == " " and line[start].isdigit()
        assert line == line.rstrip()
    assert set(lines[1]) == {"-"} and len(lines[1]) == max(map(len, lines))


def test_a_value_without_a_known_error_stands_alone():
    unknown = row("ilp-1", MIXED, 36.0, 119.0, error=math.nan, nwot_error=0.0)
    line = proposals_table(REFERENCE, [unknown], [], UNITS).split("\n")[3]
    assert "-10.00 %" in line and "-1.00  " in line and "+-" not in line


def test_scores_below_zero_are_differences_not_shares():
    reference, other = row("reference", SILU, 10.0, -2.0), row("ilp-1", MIXED, 10.0, -1.0)
    assert "+1.00 +- 0.25" in proposals_table(reference, [other], [], {"nwot": ""})


def test_nothing_is_a_share_of_zero():
    """A network that needs no DRAM."""
    reference = Proposal("reference", SILU, measured={"dram": Estimate(0.0, 0.0)})
    other = Proposal("ilp-1", MIXED, {"dram": Estimate(0.5, 0.25)}, {"dram": Estimate(0.25, 0.0)})
    line = proposals_table(reference, [other], [], {"dram": "KiB"}).split("\n")[3]
    assert "+0.50 +- 0.25 KiB" in line and "+0.25 KiB" in line
    assert verdict(reference, other, "dram", "KiB") == "ilp-1: dram +0.25 KiB against the reference."


def test_constraints_follow_the_table():
    bound = Constraint.parse("latency<=90%")
    text = proposals_table(REFERENCE, [FAST], [SLOW], UNITS, (bound,))
    assert text.split("\n")[-1] == f"{bound}, as measured - kept: ilp-1; broken: all relu."


def test_every_standing_is_said_once():
    bound = Constraint.parse("nwot>=reference-0.8")
    close, far = row("close", MIXED, 36.0, 118.8, nwot_error=0.3), row("far", MIXED, 36.0, 110.0)
    kept = row("kept", MIXED, 36.0, 119.5)
    (line,) = constraint_lines(REFERENCE, [far, close, kept], [bound])
    assert line == f"{bound}, as measured - kept: kept; within its error: close; broken: far."
    assert constraint_lines(REFERENCE, [far], []) == []


@pytest.mark.parametrize(
    ("latency", "error", "sentence"),
    [
        (36.0, 0.5, "ilp-1: latency -10.00 +- 1.25 % against the reference."),
        (39.0, 0.5, "ilp-1: latency -2.50 +- 1.25 % against the reference."),
        (39.01, 0.5, "ilp-1: latency -2.48 +- 1.25 %, not distinguishable from the reference."),
        (40.9, 0.5, "ilp-1: latency +2.25 +- 1.25 %, not distinguishable from the reference."),
        (41.1, 0.5, "ilp-1: latency +2.75 +- 1.25 % against the reference."),
        (39.9, math.nan, "ilp-1: latency -0.25 % against the reference."),
    ],
)
def test_a_difference_below_twice_its_error_is_none(latency, error, sentence):
    assert verdict(REFERENCE, row("ilp-1", MIXED, latency, 119.0, error=error), "latency", "ms") == sentence


def test_the_verdict_on_a_score():
    assert verdict(REFERENCE, FAST, "nwot", "") == "ilp-1: nwot -1.00 +- 0.25 against the reference."


def test_a_metric_of_which_the_reference_has_nothing():
    """On a system without DRAM there is no traffic to it, and no percentage of it."""
    none, some = Estimate(0.0, 0.0), Estimate(12.0, 0.0)
    reference = dataclasses.replace(REFERENCE, measured={**REFERENCE.measured, "dram": none})
    measured, predicted = {**FAST.measured, "dram": some}, {**FAST.predicted, "dram": some}
    fast = dataclasses.replace(FAST, measured=measured, predicted=predicted)
    lines = proposals_table(reference, [fast], [], {**UNITS, "dram": "KiB"}).split("\n")
    assert lines[3].count("+12.00") == 2
    lines = proposals_table(reference, [fast], [], UNITS, others={"dram": "KiB"}).split("\n")
    assert "0.0000 KiB" in lines[2]
    assert "+12.00" in lines[3]
