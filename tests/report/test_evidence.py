"""What the report says of the tables and of the device, from journals whose truth is known."""

import dataclasses
import math

import numpy as np
import pytest

from keras_actnas.core import Assignment, Estimate, Measurement, MetricTable, Proposal
from keras_actnas.report import Run
from keras_actnas.report.additivity import agreement, agreement_plot, mixed_checks
from keras_actnas.report.evidence import additivity_section, stability_section
from keras_actnas.report.stability import drift_plot, stability

SITES = ("a", "b", "c")
SILU = Assignment.uniform(SITES, "silu")
MIXED = [SILU.with_swaps(dict(zip(SITES, names, strict=True))) for names in (
    ("relu", "relu", "silu"), ("relu", "silu", "relu"), ("silu", "relu", "relu"), ("relu", "relu", "relu"),
)]  # fmt: skip
DELTA = np.array([[0.0, -1.0], [0.0, -2.0], [0.0, -4.0]])


def line(assignment, milliseconds, reference=20.0, purpose="design", second=0, **more):
    samples = tuple(np.atleast_1d(milliseconds).tolist())
    beside = tuple(np.broadcast_to(reference, len(samples)).tolist())
    time = f"2026-01-02T03:04:{second:02}.000+00:00"
    return Measurement("latency", "ms", assignment, samples, beside, purpose, time=time, **more)


def run_of(journal, exact=False, metric="latency", unit="ms"):
    table = MetricTable(metric, unit, SILU, ("silu", "relu"), Estimate(10.0), DELTA / 2, DELTA * 0 + 0.1)
    best = Proposal("ilp-1", MIXED[3])
    context = {"minimize": metric, "exact": exact}
    return Run("runs/x", {"model": "m"}, context, Proposal("reference", SILU), [best], [], {metric: table}, journal)


def test_networks_are_compared_on_a_scale_of_their_own():
    """The table is of a machine twice as fast: changes in percent are the same."""
    run = run_of([line(one, 20.0 - change) for one, change in zip(MIXED, (3.0, 5.0, 6.0, 7.0), strict=True)])
    checks = mixed_checks(run, "latency")
    assert [check.predicted.value for check in checks] == pytest.approx([-15.0, -25.0, -30.0, -35.0])
    assert [check.measured.value for check in checks] == pytest.approx([-15.0, -25.0, -30.0, -35.0])
    found = agreement(checks)
    assert (found.networks, found.error, found.correlation) == (4, pytest.approx(0.0, abs=1e-9), pytest.approx(1.0))
    assert math.isnan(found.noise)  # A single run each.


def test_the_error_is_the_root_mean_square():
    run = run_of([line(one, 20.0 - change) for one, change in zip(MIXED, (3.4, 5.0, 6.0, 6.8), strict=True)])
    found = agreement(mixed_checks(run, "latency"))
    assert found.error == pytest.approx(math.sqrt((2.0**2 + 1.0**2) / 4))
    backwards = run_of([line(one, 20.0 - change) for one, change in zip(MIXED, (7.0, 6.0, 5.0, 3.0), strict=True)])
    assert agreement(mixed_checks(backwards, "latency")).correlation == pytest.approx(-1.0)


def test_what_counts_as_mixed_and_what_the_fit_has_seen():
    journal = [
        line(SILU, 20.0),
        line(SILU.with_swaps({"a": "relu"}), 19.0),
        line(MIXED[0], 17.0),
        line(MIXED[0], 16.0, purpose="verify"),
        line(MIXED[0], 15.0, purpose="confirm"),
        line(MIXED[1], 3.0, purpose="probe"),
        dataclasses.replace(line(MIXED[2], 17.0), failure="no kernel", samples=()),
        line(SILU.with_swaps({"a": "gelu", "b": "relu"}), 17.0),
    ]
    checks = mixed_checks(run_of(journal), "latency")
    assert [(check.fitted, check.measured.value) for check in checks] == [(True, -15.0), (False, -25.0)]
    assert len(mixed_checks(run_of(journal, exact=True), "latency")) == 3  # One run says it all there.


def test_scores_are_means_over_the_initializations_of_the_last_conditions():
    def score(assignment, value, seed, size=16):
        conditions = {"seed": seed, "batch_size": size, "images": f"batch {seed}"}
        return Measurement("nwot", "", assignment, (value,), (100.0 + seed,), conditions=conditions)

    journal = [
        score(MIXED[0], 0.0, 0, size=4),
        *(score(MIXED[0], 100.0 + seed - 1.5 + 0.5 * (2 * seed - 1), seed) for seed in (0, 1)),
        score(MIXED[1], 90.0, 0),
        *(score(MIXED[3], 100.0 + seed - 3.5, seed) for seed in (0, 1)),
    ]
    checks = mixed_checks(run_of(journal, metric="nwot", unit=""), "nwot")
    assert [check.measured.value for check in checks] == pytest.approx([-1.5, -3.5])
    assert [check.predicted.value for check in checks] == pytest.approx([-1.5, -3.5])
    assert checks[0].measured.standard_error == pytest.approx(0.5)


def test_few_networks_say_nothing():
    text = additivity_section(run_of([line(MIXED[0], 17.0)]))
    assert "too few mixed networks" in text
    assert "too few mixed networks" in additivity_section(run_of([]))


def test_the_plot_tells_what_the_fit_has_seen():
    run = run_of([line(MIXED[0], 17.0), line(MIXED[1], 15.0), line(MIXED[3], 13.0, purpose="verify")])
    plot = agreement_plot(mixed_checks(run, "latency"), run.tables["latency"])
    assert (plot.count('class="fitted"'), plot.count('class="unseen"')) == (2, 1)


def test_drift_is_the_last_quarter_against_the_first():
    """Measured in another order than the journal has them in; the clock tells."""
    lines = [line(MIXED[0], 10.0, 20.0 + 0.1 * second, second=second) for second in range(20)]
    found = stability(run_of(lines[10:] + lines[:10]), "latency")
    assert found.reference == tuple(sorted(found.reference))
    assert found.drift == pytest.approx(1.5 / 20.95)
    assert found.measurements == {"design": 20} and found.samples == 20


def test_the_spread_of_runs_and_the_error_of_networks():
    rng = np.random.default_rng(0)
    lines = [line(MIXED[0], rng.normal(10.0, 0.1, 200), rng.normal(20.0, 0.4, 200)) for _ in range(9)]
    found = stability(run_of(lines), "latency")
    assert found.spread == pytest.approx(0.02, rel=0.1)
    assert found.error == pytest.approx(1.2533 * math.hypot(0.01, 0.02) / math.sqrt(200), rel=0.1)


def test_what_went_wrong_is_said():
    journal = [
        line(MIXED[0], 17.0, conditions={"disturbed": "throttled", "partitions": 3}),
        line(MIXED[0], 17.0, conditions={"partitions": 1}),
        dataclasses.replace(line(MIXED[2], 17.0), failure="no kernel for <gelu>.", samples=(), reference_samples=()),
    ]
    text = stability_section(run_of(journal))
    assert "Disturbed 1 times (latency): throttled." in text
    assert "1 networks could not be run: no kernel for &lt;gelu&gt;." in text
    assert "A delegate ran the network in 3 parts, in 1 measurements." in text
    assert "none failed" not in text
    assert "none failed" in stability_section(run_of(journal[1:2]))
    assert "in one piece" in stability_section(run_of(journal[1:2]))


def test_a_journal_without_measurements():
    assert stability(run_of([]), "latency").reference == ()
    assert "none" in stability_section(run_of([]))


def test_the_drift_plot_says_its_range():
    assert "from -1.0 to +2.0 %" in drift_plot((0.99, 1.0, 1.02), "latency")
