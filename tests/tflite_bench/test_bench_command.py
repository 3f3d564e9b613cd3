"""`python -m keras_actnas.tflite_bench`, as on a device that has NumPy and a runtime alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from keras_actnas.tflite_bench import describe_device

pytest.importorskip("ai_edge_litert")
COMMAND = [sys.executable, "-m", "keras_actnas.tflite_bench"]


def run(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True)


def test_one_file(relu_file):
    finished = run(relu_file, "--runs=3", "--warmup=1", "--num_threads=2")
    assert finished.returncode == 0
    lines = finished.stdout.splitlines()
    assert lines[0].startswith("ai_edge_litert ")
    assert lines[0].endswith("2 thread(s), delegate xnnpack, 1 warm-up and 3 timed runs")
    assert lines[1].startswith(f"{relu_file}: median ")
    assert any(line.startswith("  init ") for line in lines)
    assert any(line.startswith("  memory: peak ") for line in lines) is Path("/proc/self/status").exists()


def test_two_files(relu_file):
    finished = run(relu_file, f"--reference={relu_file}", "--runs=4", "--delegate=none")
    assert finished.returncode == 0
    assert "delegate none" in finished.stdout
    assert "ratio " in finished.stdout


def test_json(relu_file):
    finished = run(relu_file, f"--reference={relu_file}", "--runs=3", "--json", "--runtime=ai_edge_litert")
    content = json.loads(finished.stdout)
    results = {"summary", "warnings", "openings", "memory"}
    of_reference = {f"reference_{key}" for key in ("samples", *results)}
    assert content.keys() == {"samples", "ratio", "conditions", "device", *results, *of_reference}
    assert len(content["samples"]) == len(content["reference_samples"]) == 3
    assert all(sample > 0 for sample in content["samples"])
    assert content["conditions"]["runs"] == 3 and content["conditions"]["runtime"] == "ai_edge_litert"
    assert content["openings"][0]["init_ms"] > 0 and len(content["reference_openings"][0]["warmup_ms"]) == 5
    assert content["device"] == describe_device()


def test_files_that_cannot_be_used_end_with_status_2_and_one_line(relu_file, tmp_path):
    whole = relu_file.read_bytes()
    (tmp_path / "empty.tflite").write_bytes(b"")
    (tmp_path / "truncated.tflite").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.tflite").write_text("no flatbuffer")
    for name in ("missing.tflite", "empty.tflite", "truncated.tflite", "text.tflite", "."):
        finished = run(tmp_path / name)
        assert (finished.returncode, finished.stdout) == (2, ""), name
        assert finished.stderr.count("\n") == 1
        assert finished.stderr.startswith("python -m keras_actnas.tflite_bench: Expected a")


@pytest.mark.parametrize("option", ["--runs=0", "--num_threads=0", "--reference=missing.tflite"])
def test_options_that_cannot_be_used(option, relu_file):
    finished = run(relu_file, option)
    assert finished.returncode == 2
    assert "Expected" in finished.stderr.splitlines()[-1]


@pytest.mark.parametrize("option", ["--delegate=gpu", "--runtime=torch", "--runs=many"])
def test_options_that_argparse_refuses(option, relu_file):
    finished = run(relu_file, option)
    assert finished.returncode == 2
    assert "error: argument" in finished.stderr


def test_outputs_that_are_not_finite(nan_file):
    finished = run(nan_file)
    assert finished.returncode == 2
    assert "Expected finite outputs" in finished.stderr.splitlines()[-1]


def test_it_needs_numpy_and_a_runtime_alone(relu_file):
    code = (
        "import json, sys, numpy\n"
        "import keras_actnas.tflite_bench as bench\n"
        "before = set(sys.modules)\n"
        "import ai_edge_litert.interpreter\n"
        "runtimes = set(sys.modules) - before\n"
        f"bench.describe_measurement(bench.measure({str(relu_file)!r}, runs=2), 'm')\n"
        "bench.describe_device()\n"
        "print(json.dumps([sorted({name.partition('.')[0] for name in modules})"
        " for modules in (set(sys.modules), runtimes)]))\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, by_runtime = map(set, json.loads(finished.stdout))
    foreign = {"keras", "tensorflow", "jax", "torch", "flatbuffers", "absl", "pulp", "matplotlib"}
    assert not foreign & (loaded - by_runtime)
    installed = {name for name in loaded - by_runtime if name not in sys.stdlib_module_names and name[0] != "_"}
    assert installed <= {"numpy", "keras_actnas", "sitecustomize", "mkl", "cython_runtime"}
