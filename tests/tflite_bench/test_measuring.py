"""Measurements: order, raw samples, conditions, statistics."""

import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.tflite_bench import (
    DEFAULT_RUNS,
    LatencyMeasurement,
    Runtime,
    TFLiteRunner,
    describe_measurement,
    measure,
)
from keras_actnas.tflite_bench import measure as measure_function


class Scripted(TFLiteRunner):
    """A runner whose runs take the times that a script says, and are written to a log that several may share."""

    def __init__(self, name, times, log):
        self.name, self.num_threads, self.delegate = name, 3, "none"
        self.runtime = Runtime("scripted", "1.2", None, None)
        self._times, self._log = iter(times), log

    def run(self):
        self._log.append(self.name)
        return next(self._times)

    def warm_up(self, runs):
        self._log.append(f"warm {self.name} {runs}")


def test_the_two_take_turns_and_who_goes_first_alternates():
    log = []
    result = measure(Scripted("c", range(100), log), Scripted("r", range(100, 200), log), runs=5, warmup=2)
    assert log == ["warm c 2", "warm r 2", *"rc", *"cr", *"rc", *"cr", *"rc"]
    assert result.samples == (0, 1, 2, 3, 4)
    assert result.reference_samples == (100, 101, 102, 103, 104)


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
    }


def test_conditions_of_models_that_are_opened_here(relu_file):
    pytest.importorskip("ai_edge_litert")
    conditions = measure(relu_file, relu_file, runs=1, num_threads=2, delegate="none").conditions
    assert (conditions["num_threads"], conditions["delegate"], conditions["warmup"]) == (2, "none", 5)
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


CONDITIONS = {"runtime": "r", "runtime_version": "1", "num_threads": 2, "delegate": "none", "warmup": 5, "runs": 4}


def test_the_report_of_one_network():
    measurement = LatencyMeasurement((1.0, 1.01, 1.02, 1.03), (), CONDITIONS)
    summary = measurement.summary
    assert describe_measurement(measurement, "m.tflite").splitlines() == [
        "r 1, 2 thread(s), delegate none, 5 warm-up and 4 timed runs",
        f"m.tflite: median 1.015 ms +- {summary.standard_error:.3f}, p95 1.028, min 1.000, mean 1.015, "
        f"spread {summary.spread:.3f}",
    ]


def test_the_report_of_two_networks():
    measurement = LatencyMeasurement((1.0, 1.01, 1.02, 1.03), (2.0, 2.02, 2.04, 2.06), CONDITIONS)
    lines = describe_measurement(measurement, "m.tflite", "ref.tflite").splitlines()
    assert lines[2].startswith("ref.tflite: median 2.030 ms")
    assert lines[3] == "ratio 0.5000, 95 % interval 0.5000 to 0.5000"
    assert len(lines) == 4


@pytest.mark.parametrize("which", [0, 1])
def test_the_report_warns_of_unstable_runs(which):
    pair = [(1.0, 1.01, 1.02, 1.03)] * 2
    pair[which] = (1.0, 1.2, 1.4, 1.6)
    text = describe_measurement(LatencyMeasurement(*pair, CONDITIONS), "m.tflite", "ref.tflite")
    assert "warning: single runs spread by more than 5 % of the median; close other programs" in text


def test_the_report_of_a_single_run():
    assert "median 1.000 ms" in describe_measurement(LatencyMeasurement((1.0,), (), CONDITIONS), "m.tflite")
