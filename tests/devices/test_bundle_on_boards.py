"""Bundles on what they are made for: an emulated Raspberry Pi with either runtime, and the last tflite_runtime here."""

import os
import subprocess

import pytest

from keras_actnas.core import Journal
from keras_actnas.devices import Plan, Request, record, write_bundle
from keras_actnas.devices.ssh import SSHDevice
from keras_actnas.search import mixtures

pytestmark = pytest.mark.slow

PLACES = ("ai_edge_litert on Arm", "tflite_runtime on Arm", "tflite_runtime here")
ACTIVATIONS = ("silu", "relu", "hard_swish", "relu6", "leaky_relu")


@pytest.fixture
def request_of(network):
    rows = tuple(mixtures(network.reference, ACTIVATIONS, 5))
    return Request(rows, network.reference, runs=3, model="m", inspect=True)


@pytest.fixture
def run_at(request, tmp_path):
    """Returns function(place, arguments), which runs a bare Python there; it has no package of ours."""

    def run(place, *arguments, check=True):
        runtime, _, where = place.partition(" ")
        python = request.getfixturevalue("old_runtime")
        if where == "on Arm":
            python = request.getfixturevalue("arm_machine").python(runtime)
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return subprocess.run(
            [python, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=check
        )

    return run


@pytest.mark.parametrize("place", PLACES)
def test_a_bundle_runs_to_its_end_and_continues(place, run_at, tmp_path, network_file, request_of):
    write_bundle(tmp_path / "bench.pyz", network_file.read_bytes(), Plan("small", request_of))
    said = run_at(place, "bench.pyz").stdout
    assert "[5/5]" in said
    assert f"{place.split()[0]} " in said
    if "Arm" in place:
        assert said.startswith("Raspberry Pi 4 Model B Rev 1.4; ")
    made = list(Journal(tmp_path / "bench.jsonl"))
    latencies = [one for one in made if one.metric == "latency" and one.purpose == "design"]
    assert tuple(one.assignment for one in latencies) == request_of.assignments
    for one in latencies:
        assert not one.failure
        assert len(one.samples) == 3
        assert (one.conditions["runtime"], one.conditions["partitions"]) == (place.split()[0], 1)
        assert one.device["architecture"] == ("aarch64" if "Arm" in place else os.uname().machine)
    assert len([one for one in made if one.metric == "memory" and one.samples[0] > 10_000]) == 5
    # A power cut in the middle of a line: two networks are left.
    lines = (tmp_path / "bench.jsonl").read_bytes().splitlines(keepends=True)
    kept = len(ACTIVATIONS) + 6  # Behind those that try out every activation, two a network.
    (tmp_path / "bench.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][:50])
    assert "3 measured already" in run_at(place, "bench.pyz").stdout
    assert len(Journal(tmp_path / "bench.jsonl").select("latency", "design")) == 5


def test_journals_of_two_boards_are_not_mixed(run_at, tmp_path, network_file, request_of):
    write_bundle(tmp_path / "bench.pyz", network_file.read_bytes(), Plan("small", request_of))
    run_at(PLACES[2], "bench.pyz")
    before = (tmp_path / "bench.jsonl").read_bytes()
    refused = run_at(PLACES[1], "bench.pyz", check=False)
    assert refused.returncode == 2
    assert "Two devices must not be mixed" in refused.stderr
    assert (tmp_path / "bench.jsonl").read_bytes() == before


def test_an_emulated_board_over_ssh(arm_machine, ssh_server, network, journal, request_of):
    spec = f"//board?config={ssh_server.config}&python={arm_machine.python()}"
    with SSHDevice.from_spec(spec) as device:
        assert device.describe()["board"] == "Raspberry Pi 4 Model B Rev 1.4"
        made = record(device, network, request_of, journal)
    assert len(made) == 5
    assert not any(lines[0].failure for lines in made.values())
