"""The report of a measurement, as text and as JSON."""

import json

import numpy as np
import pytest

from keras_actnas.tflite_bench import LatencyMeasurement, Opening, describe_measurement
from keras_actnas.tflite_bench.report import describe_memory, measurement_to_json

CONDITIONS = {"runtime": "r", "runtime_version": "1", "num_threads": 2, "delegate": "none", "warmup": 5, "runs": 4}
STEADY = (10.0, 10.01, 10.02, 10.03)


def described(samples=STEADY, reference=(), openings=(), details=(), **conditions):
    measurement = LatencyMeasurement(samples, reference, {**CONDITIONS, **conditions}, openings)
    other = "ref.tflite" if reference else None
    return describe_measurement(measurement, "m.tflite", other, details=details).splitlines()


def test_one_network():
    summary = LatencyMeasurement(STEADY, (), CONDITIONS).summary
    openings = (Opening(12.5, 3.0, (3.0, 1.5)),)
    assert described(openings=openings, details=["memory: much"]) == [
        "r 1, 2 thread(s), delegate none, 5 warm-up and 4 timed runs",
        f"m.tflite: median 10.015 ms +- {summary.standard_error:.3f}",
        f"  inference: mean 10.015, min 10.000, p95 10.028, max 10.030, "
        f"standard deviation {np.std(STEADY, ddof=1):.3f}, spread {summary.spread:.3f} ms; 4 runs",
        "  init 12.500, first inference 3.000, warm-up mean 2.250 ms (2 runs)",
        "  memory: much",
    ]


def test_two_networks():
    lines = described(reference=(20.0, 20.02, 20.04, 20.06))
    assert lines[3].startswith("ref.tflite: median 20.030 ms")
    assert lines[5] == "ratio 0.5000; too few runs for an interval"
    assert len(lines) == 6
    assert described((1.0,) * 6, (2.0,) * 6)[-1] == "ratio 0.5000, 95 % interval 0.5000 to 0.5000"


def test_several_sessions():
    openings = (Opening(10.0, 3.0, (3.0,)), Opening(20.0, 4.0, (4.0,)), Opening(90.0, 8.0, (8.0,)))
    lines = described((1.0,) * 6, (2.0,) * 6, openings, sessions=3)
    assert lines[0].endswith("timed runs, networks opened 3 times")
    assert "  init 20.000, first inference 4.000, warm-up mean 5.000 ms (3 runs)" in lines


def test_runners_that_do_not_tell_how_they_started():
    assert "  warm-up mean 2.000 ms (1 runs)" in described(openings=(Opening(None, None, (2.0,)),))


@pytest.mark.parametrize(
    ("partitions", "text"),
    [(0, "0: the built-in kernels run all of the graph"), (1, "1"), (3, "3: the graph is split")],
)
def test_partitions(partitions, text):
    assert f"  delegate partitions: {text}" in described(delegate="xnnpack", partitions=partitions)
    assert not any("partitions" in line for line in described(delegate="none", partitions=partitions))
    assert not any("partitions" in line for line in described(delegate="xnnpack"))


def test_partitions_of_the_reference():
    lines = described((1.0,) * 6, (2.0,) * 6, delegate="xnnpack", partitions=1, reference_partitions=2)
    assert [line for line in lines if "partitions" in line] == [
        "  delegate partitions: 1",
        "  delegate partitions: 2: the graph is split",
    ]


def test_memory():
    assert describe_memory({"peak_kib": 62669, "baseline_kib": 39014}) == [
        "memory: peak 61.2 MiB, of which 38.1 MiB before the model"
    ]
    assert describe_memory(None) == []


@pytest.mark.parametrize("which", [0, 1])
def test_warnings_stand_with_the_network_that_they_are_of(which):
    pair = [STEADY] * 2
    pair[which] = (1.0, 1.2, 1.4, 1.6)
    lines = described(*pair)
    warned = [number for number, line in enumerate(lines) if line.startswith("  warning: single runs spread")]
    assert len(warned) == 1
    assert (warned[0] > lines.index(next(line for line in lines if line.startswith("ref.tflite")))) is bool(which)


def test_a_single_run():
    lines = described((1.0,))
    assert "m.tflite: median 1.000 ms +- nan" in lines
    assert lines[-1] == "  warning: a single run does not tell how much runs differ; take more"


def test_json_carries_all_of_it():
    openings = (Opening(12.5, 3.0, (3.0, 1.5)),)
    measurement = LatencyMeasurement((1.0,), (2.0,), CONDITIONS, openings, openings)
    content = json.loads(json.dumps(measurement_to_json(measurement), allow_nan=False))
    assert content["samples"] == [1.0] and content["reference_samples"] == [2.0]
    assert content["openings"] == [{"init_ms": 12.5, "first_ms": 3.0, "warmup_ms": [3.0, 1.5]}]
    assert content["summary"]["median"] == 1.0 and content["summary"]["spread"] is None
    assert content["reference_summary"]["maximum"] == 2.0
    assert content["ratio"] == {"ratio": 0.5, "standard_error": None, "low": None, "high": None}
    assert content["warnings"] == content["reference_warnings"] != []
    alone = measurement_to_json(LatencyMeasurement(STEADY, (), CONDITIONS))
    assert alone["ratio"] is None and alone["reference_summary"] is None and alone["warnings"] == []
