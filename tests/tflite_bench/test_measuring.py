"""Measurements: order, raw samples, conditions, statistics."""

import importlib
import itertools

import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.tflite_bench import (
    DEFAULT_RUNS,
    LatencyMeasurement,
    Opening,
    Runtime,
    TFLiteRunner,
    measure,
    paired_ratio,
)
from keras_actnas.tflite_bench import measure as measure_function

MODULE = importlib.import_module("keras_actnas.tflite_bench.measure")  # The package has a function of that name.


class Scripted(TFLiteRunner):
    """A runner whose runs take the times that a script says, and are written to a log that several may share."""

    def __init__(self, name, times, log):
        self.name, self.num_threads, self.delegate = name, 3, "none"
        self.runtime = Runtime("scripted", "1.2", None, None)
        self.init_ms, self.first_ms = 7.0, 9.0
        self._times, self._log = iter(times), log

    def run(self):
        self._log.append(self.name)
        return next(self._times)

    def warm_up(self, runs):
        self._log.append(f"warm {self.name} {runs}")
        return (9.0,) * runs


def test_the_two_take_turns():
    log = []
    result = measure(Scripted("c", range(100), log), Scripted("r", range(100, 200), log), runs=5, warmup=2)
    assert log == ["warm r 2", "warm c 2", *"rcrcrcrcrc"]
    assert result.samples == (0, 1, 2, 3, 4)
    assert result.reference_samples == (100, 101, 102, 103, 104)
    assert result.openings == result.reference_openings == (Opening(7.0, 9.0, (9.0, 9.0)),)


@pytest.fixture
def opened(monkeypatch):
    """Replaces the runner of files; returns the log of what is opened, freed and run."""
    log = []

    class Logged(Scripted):
        def __init__(self, name, *options):
            super().__init__(name, itertools.count(), log)
            log.append(f"open {name}")

        def __del__(self):
            log.append(f"free {self.name}")

    monkeypatch.setattr(MODULE, "TFLiteRunner", Logged)
    return log


def test_files_are_opened_anew_in_either_order_by_turns(opened):
    result = measure("c", "r", runs=5, warmup=4)
    first = ["open r", "open c", "warm r 4", "warm c 4", *"rcrcrc"]
    second = ["free c", "free r", "open c", "open r", "warm c 2", "warm r 2", *"crcr"]
    assert [entry for entry in opened if entry[:4] != "free"] == [e for e in first + second if e[:4] != "free"]
    # What one session had is there for the next: nothing is opened before all is freed.
    assert max(opened.index("free c"), opened.index("free r")) < opened.index("open c", opened.index("open c") + 1)
    assert result.conditions["sessions"] == len(result.openings) == len(result.reference_openings) == 2
    assert result.samples == (0, 1, 2, 0, 1) and result.reference_samples == (0, 1, 2, 0, 1)


@pytest.mark.parametrize(("runs", "sessions"), [(1, 1), (3, 1), (4, 2), (11, 4), (12, 6), (50, 6)])
def test_number_of_sessions(runs, sessions, opened):
    result = measure("c", "r", runs=runs)
    assert result.conditions["sessions"] == sessions
    starts = [number for number, sample in enumerate(result.samples) if sample == 0]
    # Statistics split samples as NumPy does.
    assert starts == [int(part[0]) for part in np.array_split(np.arange(runs), sessions)]
    assert opened.count("open c") == opened.count("open r") == sessions


def test_one_network_is_opened_once(opened):
    result = measure("c", runs=50)
    assert opened.count("open c") == result.conditions["sessions"] == len(result.openings) == 1
    assert result.reference_openings == ()


def test_networks_that_are_open_stay_open(opened):
    runner = MODULE.TFLiteRunner("r")
    for pair in (("c", runner), (runner, "c")):
        assert measure(*pair, runs=50).conditions["sessions"] == 1


def test_the_ratio_of_sessions_is_from_their_medians():
    samples = (1.0, 1.1, 1.0, 1.2, 1.2, 1.3)
    openings = (Opening(1.0, 1.0, (1.0,)),) * 2
    of_two = LatencyMeasurement(samples, (1.0,) * 6, {}, openings, openings)
    assert of_two.ratio == paired_ratio(samples, (1.0,) * 6, 2) != LatencyMeasurement(samples, (1.0,) * 6, {}).ratio


def test_how_real_networks_start(relu_file):
    pytest.importorskip("ai_edge_litert")
    result = measure(relu_file, relu_file, runs=4, warmup=3)
    for openings in (result.openings, result.reference_openings):
        assert [len(opening.warmup_ms) for opening in openings] == [3, 2]
        for opening in openings:
            assert 0 < opening.init_ms < 1000
            assert opening.first_ms == opening.warmup_ms[0] > 0
    runner = TFLiteRunner(relu_file)
    first = measure(runner, runs=1).openings[0].first_ms
    assert measure(runner, runs=1).openings[0].first_ms == first  # The very first, not the first of this measurement.


def test_without_a_reference():
    log = []
    result = measure(Scripted("c", range(9), log), runs=3)
    assert log[1:] == ["c", "c", "c"]
    assert result.samples == (0, 1, 2)
    assert result.reference_samples == ()
    with pytest.raises(InputError, match="interleaved with a reference. Received: one without"):
        _ = result.ratio


def test_conditions_are_recorded():
    conditions = measure(Scripted("c", range(9), []), runs=3, warmup=0, num_threads=8).conditions
    assert conditions == {
        "runtime": "scripted",
        "runtime_version": "1.2",
        "num_threads": 3,
        "delegate": "none",
        "runs": 3,
        "warmup": 1,
        "sessions": 1,
    }


def test_conditions_of_models_that_are_opened_here(relu_file):
    pytest.importorskip("ai_edge_litert")
    conditions = measure(relu_file, relu_file, runs=1, num_threads=2, delegate="none").conditions
    assert (conditions["num_threads"], conditions["delegate"], conditions["warmup"]) == (2, "none", 5)
    assert conditions["partitions"] == conditions["reference_partitions"] == 0
    assert conditions["runtime"] == "ai_edge_litert" and str(conditions["runtime_version"])[0].isdigit()


def test_the_papers_number_of_runs_is_the_default(relu_file):
    pytest.importorskip("ai_edge_litert")
    assert DEFAULT_RUNS == 50
    result = measure(relu_file)
    assert len(result.samples) == 50
    assert all(0 < sample < 1000 for sample in result.samples)


def test_statistics_are_numpys():
    random = np.random.default_rng(0)
    reference = random.normal(10, 0.3, 51)
    samples = reference * random.normal(0.8, 0.01, 51)
    samples[3] = 500  # Something else ran.
    result = LatencyMeasurement(tuple(samples), tuple(reference), {})
    summary = result.summary
    unbiased = 51 / (51 - 0.8) * 1.4826  # Croux and Rousseeuw (1992)
    spread = unbiased * np.median(np.abs(samples - np.median(samples)))
    assert summary.median == pytest.approx(np.median(samples))
    assert summary.p95 == pytest.approx(np.percentile(samples, 95))
    assert (summary.minimum, summary.mean) == pytest.approx((samples.min(), samples.mean()))
    assert summary.spread == pytest.approx(spread)
    assert summary.standard_error == pytest.approx(np.sqrt(np.pi / 2) * spread / np.sqrt(51))
    assert summary.runs == 51
    ratios = samples / reference
    assert result.ratio.ratio == pytest.approx(np.median(ratios))
    of_ratios = unbiased * np.median(np.abs(ratios - np.median(ratios)))
    assert result.ratio.standard_error == pytest.approx(np.sqrt(np.pi / 2) * of_ratios / np.sqrt(51))
    assert abs(result.ratio.ratio - 0.8) < 0.01


def test_drift_that_both_share_leaves_the_ratio_alone():
    drift = np.linspace(1, 3, 40)
    result = LatencyMeasurement(tuple(2 * drift), tuple(4 * drift), {})
    assert result.ratio.ratio == 0.5 and result.ratio.standard_error == 0


@pytest.mark.parametrize("runs", [0, -1])
def test_a_number_of_runs_that_measures_nothing(runs, relu_file):
    with pytest.raises(InputError, match=f"Expected at least 1 run. Received: runs={runs}"):
        measure_function(relu_file, runs=runs)


def test_outputs_that_are_not_finite_are_refused_before_anything_is_timed(nan_file, relu_file):
    pytest.importorskip("ai_edge_litert")
    for pair in ((nan_file, None), (relu_file, nan_file)):
        with pytest.raises(InputError, match="Expected finite outputs.*nan.tflite"):
            measure(*pair, runs=1)
