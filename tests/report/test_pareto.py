"""The plane of two metrics: which networks are beaten by none, and what is drawn of them."""

import math
import re

import numpy as np
import pytest

from keras_actnas.core import Assignment, Estimate, MetricTable, Proposal
from keras_actnas.report import Run
from keras_actnas.report.pareto import pareto_plot

SILU = Assignment.uniform(["a", "b"], "silu")


def row(name, latency, score, error=0.1):
    measured = {"latency": Estimate(latency, error), "nwot": Estimate(score, error)}
    return Proposal(name, SILU, measured={key: value for key, value in measured.items() if value.value is not None})


def run_of(proposals, baselines=(), units=("ms", "")):
    tables = {
        metric: MetricTable(metric, unit, SILU, ("silu",), Estimate(1.0), np.zeros((2, 1)), np.zeros((2, 1)))
        for metric, unit in zip(("latency", "nwot"), units, strict=True)
    }
    context = {"minimize": "latency"}
    reference = row("reference", 10.0, 5.0)
    return Run("runs/x", {}, context, reference, list(proposals), list(baselines), tables, [])


def front(plot):
    return re.search('Not beaten by any other: (.*?)[.]"', plot)[1].split(", ")


def test_the_front_has_what_no_other_beats():
    proposals = [row("fast", 7.0, 3.0), row("good", 9.0, 6.0), row("beaten", 9.5, 4.0)]
    ties = [row("as fast, worse", 7.0, 2.0), row("as good, slower", 9.1, 6.0), row("the same", 9.0, 6.0)]
    assert front(pareto_plot(run_of(proposals, ties), "latency", "nwot")) == ["fast", "good", "the same"]


def test_of_a_divergence_less_is_better():
    run = run_of([row("fast", 7.0, 3.0), row("good", 9.0, 1.0), row("beaten", 9.5, 4.0)])
    assert front(pareto_plot(run, "latency", "nwot")) == ["fast", "beaten", "reference"]
    run.context["scores"] = {"nwot": {"higher_is_better": False}}
    assert front(pareto_plot(run, "latency", "nwot")) == ["fast", "good"]


def test_every_network_has_its_mark_and_its_bars():
    run = run_of([row("one", 7.0, 3.0), row("two", 8.0, 4.0, math.nan)], [row("all relu", 9.0, 2.0)])
    plot = pareto_plot(run, "latency", "nwot")
    assert (plot.count('class="mark"'), plot.count('class="bar"')) == (
        4,
        6,
    )  # The reference's, and no bar without error.
    assert plot.count("<polygon") == plot.count("<rect") == 1 and plot.count("<circle") == 2
    assert "one: latency 7.0000 ms (standard error 0.1), nwot 3.0000 (standard error 0.1)" in plot
    assert ">one … two</text>" in plot and ">all relu</text>" in plot


def test_the_close_up_shows_the_proposals_alone():
    run = run_of([row("one", 7.0, 3.0), row("two", 8.0, 4.0)], [row("all relu", 6.0, 9.0)])
    plot = pareto_plot(run, "latency", "nwot", close_up=True)
    assert plot.count('class="mark"') == 2
    assert ">one</text>" in plot and ">two</text>" in plot and "all relu" not in plot
    assert front(plot) == ["none"]  # Another beats them, also where it is not shown.


@pytest.mark.parametrize("close_up", [False, True])
def test_too_few_values(close_up):
    bare = Proposal("one", SILU)
    assert pareto_plot(run_of([bare]), "latency", "nwot", close_up) is None
