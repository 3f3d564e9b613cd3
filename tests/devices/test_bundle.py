"""Bundles run by themselves: with NumPy and a TFLite runtime alone, again after a kill, never on two boards."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from keras_actnas.core import Assignment, InputError, Journal
from keras_actnas.devices import Plan, RecordedDevice, Request, record, write_bundle
from keras_actnas.devices.on_device import duration, main
from keras_actnas.search import mixtures

ACTIVATIONS = ("silu", "relu", "hard_swish", "leaky_relu", "gelu", "elu")


@pytest.fixture
def plan(network):
    rows = tuple(mixtures(network.reference, ACTIVATIONS, 6))
    return Plan("small", Request(rows, network.reference, runs=5, model="m"))


@pytest.fixture
def bundle(tmp_path, network_file, plan):
    path = tmp_path / "bench.pyz"
    size = write_bundle(path, network_file.read_bytes(), plan)
    assert size == path.stat().st_size
    return path


@pytest.fixture
def bare(tmp_path):
    """An environment whose Python refuses to import what a board does not have."""
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in ("tensorflow", "keras", "absl", "pulp", "scipy"):
        (folder / f"{name}.py").write_text(f"raise RuntimeError('a board has no {name}')\n")
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.fixture
def run(bundle, bare):
    def run(*arguments, check=True):
        command = [sys.executable, str(bundle), *arguments]
        return subprocess.run(
            command, cwd=bundle.parent, env=bare, capture_output=True, text=True, check=check, timeout=120
        )

    return run


def test_it_measures_what_the_plan_asks_for(run, bundle, plan, network):
    said = run().stdout.splitlines()
    assert said[1] == "small: 6 networks, 0 measured already"
    assert [line.split("]")[0] for line in said[3:-1]] == [f"[{number}/6" for number in range(1, 7)]
    assert "% of the reference, " in said[3]
    assert "--device=journal:bench.jsonl" in said[-1]
    made = design_of(bundle.with_suffix(".jsonl"))
    assert tuple(one.assignment for one in made) == plan.request.assignments
    for one in made:
        assert (len(one.samples), one.model, one.conditions["num_threads"]) == (5, "m", 1)
        assert one.conditions["operators"]["CONV_2D"] == 4
        assert one.device["cores"] == os.cpu_count()


def design_of(path):
    """Measurements of a journal but those that try out every activation."""
    return [one for one in Journal(path) if one.purpose == "design"]


def test_an_activation_that_the_board_cannot_run_is_left_out_of_the_design(tmp_path, network_file, network, bare):
    path = tmp_path / "bench.pyz"
    reference = network.reference
    rows = (reference.with_swaps({"act0": "mish", "act1": "relu"}), reference.with_swaps({"act2": "relu6"}))
    write_bundle(path, network_file.read_bytes(), Plan("small", Request(rows, reference, runs=2)))
    for _ in range(2):
        command = [sys.executable, str(path)]
        said = subprocess.run(command, cwd=tmp_path, env=bare, check=True, capture_output=True, text=True).stdout
        assert "This board cannot run mish, which is left out of the networks" in said
    made = design_of(tmp_path / "bench.jsonl")
    assert [one.assignment for one in made] == [reference.with_swaps({"act1": "relu"}), rows[1]]
    assert not any(one.failure for one in made)


def test_a_journal_of_another_model_or_precision_does_not_count(tmp_path, network_file, plan, bare):
    for model, precision in (("m", "float32"), ("other", "float32"), ("m", "int8")):
        request = dataclasses.replace(plan.request, model=model)
        changed = dataclasses.replace(plan, request=request, precision=precision)
        write_bundle(tmp_path / "bench.pyz", network_file.read_bytes(), changed)
        command = [sys.executable, "bench.pyz"]
        made = subprocess.run(command, cwd=tmp_path, env=bare, check=False, capture_output=True, text=True)
        if model == "other":
            assert "Expected a journal of this model, 'other'" in made.stderr
        else:
            assert "6 networks, 0 measured already" in made.stdout
    # The precision that was measured last is the device's.
    device = RecordedDevice([tmp_path / "bench.jsonl"])
    assert device.precision == "int8"
    with pytest.raises(InputError, match="Expected --precision=int8"):
        RecordedDevice([tmp_path / "bench.jsonl"], "float32")


def test_run_again_it_has_nothing_to_do(run, bundle):
    run()
    before = bundle.with_suffix(".jsonl").read_bytes()
    assert "small: 6 networks, 6 measured already" in run().stdout
    assert bundle.with_suffix(".jsonl").read_bytes() == before


def test_after_a_power_cut_it_continues(bundle, bare, run, plan):
    journal = bundle.with_suffix(".jsonl")
    process = subprocess.Popen(
        [sys.executable, str(bundle), "--runs=400"], cwd=bundle.parent, env=bare, stdout=subprocess.PIPE, text=True
    )
    while not process.stdout.readline().startswith("[2/6]"):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    lines = journal.read_bytes().splitlines(keepends=True)
    tried = len(ACTIVATIONS)
    journal.write_bytes(b"".join(lines[: tried + 1]) + lines[tried + 1][:100])  # Cut in the middle of a line.
    assert "1 measured already" in run().stdout
    assert [one.assignment for one in design_of(journal)] == list(plan.request.assignments)


def test_a_journal_of_another_board_is_refused(run, bundle):
    run()
    journal = bundle.with_suffix(".jsonl")
    other = journal.read_text().replace(f'"cores":{os.cpu_count()}', '"cores":96')
    journal.write_text(other)
    made = run(check=False)
    assert made.returncode == 2
    assert "whose cores is 96" in made.stderr
    assert journal.read_text() == other
    assert run("--out", "other.jsonl").returncode == 0


def test_two_processes_do_not_write_one_journal(bundle, run):
    with Journal(bundle.with_suffix(".jsonl")):
        made = run(check=False)
    assert made.returncode == 2
    assert "which another writes" in made.stderr


def test_an_interrupt_keeps_what_was_measured(bundle, bare):
    process = subprocess.Popen(
        [sys.executable, str(bundle), "--runs=100000"],
        cwd=bundle.parent, env=bare, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not process.stdout.readline().endswith("in all\n"):
        pass
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted. What was measured is kept: the same command continues." in said


def test_the_device_describes_itself(run):
    told = json.loads(run("--describe").stdout)
    assert told["device"]["architecture"]
    assert set(told["conditions"]) == {"num_threads", "delegate", "runtime", "runtime_version", "precision"}


def test_memory_is_measured_when_the_plan_says_so(tmp_path, network_file, network, bare):
    path = tmp_path / "memory.pyz"
    request = Request((network.reference,), network.reference, runs=2, purpose="verify", inspect=True)
    write_bundle(path, network_file.read_bytes(), Plan("small", request))
    subprocess.run([sys.executable, str(path)], cwd=tmp_path, env=bare, check=True, capture_output=True)
    latency, memory = Journal(tmp_path / "memory.jsonl")
    assert (memory.metric, memory.unit, memory.time) == ("memory", "KiB", latency.time)
    assert memory.samples[0] > 10_000


def test_its_journal_is_a_device(run, bundle, plan, network, journal):
    run()
    device = RecordedDevice([bundle.with_suffix(".jsonl")])
    assert device.available == dict.fromkeys(plan.request.assignments, "design")
    assert device.model == "m"
    made = record(device, network, plan.request, journal)
    assert {one: lines[0].samples for one, lines in made.items()} == {
        one.assignment: one.samples for one in design_of(bundle.with_suffix(".jsonl"))
    }


def test_it_is_little_more_than_the_network(bundle, network_file):
    assert bundle.stat().st_size < network_file.stat().st_size + 400_000
    with zipfile.ZipFile(bundle) as file:
        names = file.namelist()
    assert {"__main__.py", "plan.json", "network.tflite", "keras_actnas/devices/on_device.py"} <= set(names)
    assert not any("search" in name or "surgery" in name for name in names)


def test_an_old_python_is_told_so(bundle):
    with zipfile.ZipFile(bundle) as file:
        source = file.read("__main__.py").decode()
    code = f"import sys; sys.version_info = (3, 7, 3); exec({source!r})"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert made.returncode == 1
    assert "Expected Python 3.10 or later" in made.stderr


def test_without_a_runtime_it_says_what_to_install(bundle, bare):
    for name in ("ai_edge_litert", "tflite_runtime", "tensorflow"):
        Path(bare["PYTHONPATH"], f"{name}.py").write_text("raise ImportError('not here')\n")
    made = subprocess.run([sys.executable, str(bundle)], cwd=bundle.parent, env=bare, capture_output=True, text=True)
    assert made.returncode == 2
    assert "ai-edge-litert" in made.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plan", "missing.json"], "missing.json (No such file or directory)"),
        (["--plan", "broken.json"], "Expected a plan of measurements"),
        ([], "Expected a bundle with plan.json. Received: none; make one with `keras-actnas bundle`"),
    ],
)
def test_files_that_are_not_there(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text("{}")
    (tmp_path / "net.tflite").write_bytes(b"")
    assert main([*arguments, "--network", "net.tflite"], "bench.pyz") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--runs=0"], ["--runs=x"], ["--runtime=gpu"], ["--what"]])
def test_arguments_that_cannot_be(arguments):
    with pytest.raises(SystemExit):
        main(arguments, "bench.pyz")


def test_durations():
    assert [duration(seconds) for seconds in (0.4, 59.7, 61, 3599, 3600, 93784)] == [
        "0 s", "1 min 0 s", "1 min 1 s", "59 min 59 s", "1 h 0 min", "26 h 3 min",
    ]  # fmt: skip


def test_a_network_that_fails_is_named(tmp_path, network_file, network, bare):
    """An activation that the file cannot hold is a failure of that candidate alone."""
    path = tmp_path / "fails.pyz"
    rows = tuple(Assignment.uniform(network.reference, name) for name in ("relu", "mish", "relu6"))
    request = Request(rows, network.reference, runs=2, purpose="verify")
    write_bundle(path, network_file.read_bytes(), Plan("small", request))
    made = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, env=bare, check=True, capture_output=True, text=True
    )
    assert "[2/3] failed: Expected an activation" in made.stdout
    assert "3 networks measured (1 failed)" in made.stdout
    assert [bool(one.failure) for one in Journal(tmp_path / "fails.jsonl")] == [False, True, False]
