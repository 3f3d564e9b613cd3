"""Measuring runs on an emulated Raspberry Pi and under the last tflite_runtime, and networks compute the same there."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import keras_actnas
from keras_actnas.tflite_bench import TFLiteRunner, load_runtime

pytestmark = pytest.mark.slow

PACKAGE = str(Path(keras_actnas.__file__).parents[1])
PLACES = ("ai_edge_litert on Arm", "tflite_runtime on Arm", "tflite_runtime here")

# The outputs of a network after its warm-up; inputs are random, from a seed.
OUTPUTS = """
import json, sys
from keras_actnas.tflite_bench import TFLiteRunner
runner = TFLiteRunner(sys.argv[1], delegate=sys.argv[2])
runner.warm_up(1)
print(json.dumps([output.tolist() for output in runner.outputs()]))
"""

# Each process starts the next; the last one ends itself as a crash of a runtime does.
PROCESSES = """
import os, platform, signal, subprocess, sys
left = int(sys.argv[1])
print(platform.machine(), flush=True)
if left:
    code = subprocess.run([sys.executable, __file__, str(left - 1)]).returncode
    sys.exit(code if code >= 0 else 100 - code)
os.kill(os.getpid(), signal.SIGSEGV)
"""


@pytest.fixture
def run_at(request, tmp_path):
    """Returns function(place, arguments): runs a Python there that finds this package; returns what it printed."""

    def run(place, arguments):
        runtime, _, where = place.partition(" ")
        options = {"env": {**os.environ, "PYTHONPATH": PACKAGE}, "cwd": tmp_path}
        if where == "on Arm":
            return request.getfixturevalue("arm_machine").run(arguments, runtime, **options).stdout
        command = [request.getfixturevalue("old_runtime"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout

    return run


def test_processes_start_processes(arm_machine, tmp_path):
    script = tmp_path / "processes.py"
    script.write_text(PROCESSES)
    made = arm_machine.run([script, 2], check=False)
    assert made.stdout.split() == ["aarch64"] * 3
    assert made.returncode == 111


@pytest.mark.parametrize("place", PLACES)
def test_a_network_is_measured(place, run_at, network_file):
    arguments = ["-m", "keras_actnas.tflite_bench", network_file, f"--reference={network_file}", "--runs=4", "--json"]
    made = json.loads(run_at(place, arguments))
    conditions, device = made["conditions"], made["device"]
    assert (len(made["samples"]), len(made["reference_samples"])) == (4, 4)
    assert (conditions["runtime"], conditions["delegate"], conditions["partitions"]) == (place.split()[0], "xnnpack", 1)
    assert device["python"].startswith("3.")
    if "Arm" in place:
        assert (device["architecture"], device["cores"]) == ("aarch64", 4)
        assert device["board"] == device["cpu"] == "Raspberry Pi 4 Model B Rev 1.4"
    if "tflite_runtime" in place:
        assert (conditions["runtime_version"], device["numpy"]) == ("2.14.0", "1.26.4")


@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
@pytest.mark.parametrize("place", PLACES)
def test_a_network_computes_what_it_computes_here(place, delegate, run_at, network_file):
    made = json.loads(run_at(place, ["-c", OUTPUTS, network_file, delegate]))
    runner = TFLiteRunner(network_file, delegate=delegate, runtime=load_runtime("ai_edge_litert"))
    runner.warm_up(1)
    expected = runner.outputs()
    assert len(made) == len(expected)
    for one, other in zip(made, expected, strict=True):
        assert np.ptp(other) > 0
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_old_runtime_with_a_new_numpy_says_what_to_install(old_runtime, tmp_path, network_file):
    if np.__version__.startswith("1."):
        pytest.skip("needs NumPy 2 here")
    for path in Path(np.__file__).parents[1].glob("numpy*"):  # With its libraries and its version.
        (tmp_path / path.name).symlink_to(path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), PACKAGE])}
    command = [old_runtime, "-m", "keras_actnas.tflite_bench", str(network_file)]
    made = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert made.returncode == 2
    assert f"Expected NumPy 1 for tflite_runtime 2.14.0. Received: NumPy {np.__version__}" in made.stderr
