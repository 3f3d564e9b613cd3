"""Devices, bundles and journals from the command line: from a bundle to a search that uses what it measured."""

import itertools
import json
import shutil
import subprocess
import sys

import pytest

from keras_actnas import cli
from keras_actnas.core import Journal, MetricTable, load_proposals

PINNED = ("stem_act", "argument", "last")
DESIGN = ("--networks=12", "--activations=relu,silu,hard_swish")

BOARD = """
from keras_actnas.devices import Device, Reading

class Meter(Device):
    "Measures energy: 3 mJ for every kilobyte."
    name = "meter"
    metrics = {"energy": "mJ"}
    exact = True

    def describe(self):
        return {"board": "power meter"}

    def measure(self, candidate, reference, runs):
        return Reading({"energy": [len(candidate) * 3e-3]}, {"energy": [len(reference) * 3e-3]})

def nothing():
    return None
"""


@pytest.fixture
def run(capsys):
    def run(*arguments):
        capsys.readouterr()
        assert cli.main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def measured(tiny, tmp_path, run):
    """The journal of a bundle that has measured a design."""
    path = tmp_path / "bench.pyz"
    said = run("bundle", f"--model={tiny}", "-o", path, *DESIGN, "--runs=3")
    assert "12 networks to measure" in said
    subprocess.run([sys.executable, path], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path / "bench.jsonl"


def test_from_a_bundle_to_proposals_and_back(tiny, tmp_path, measured, run, fast):
    # What is proposed must not happen to be one of those that the bundle measured: three sites have what none has.
    known = {tuple(one.assignment[site] for site in PINNED) for one in Journal(measured)}
    names = next(each for each in itertools.product(("relu", "silu", "hard_swish"), repeat=3) if each not in known)
    pins = [f"--pin={site}={name}" for site, name in zip(PINNED, names, strict=True)]
    flags = ("search", f"--model={tiny}", *fast, "--activations=relu,silu,hard_swish", "--min_distance=1", *pins)
    said = run(*flags, f"--device=journal:{measured}", f"--out={tmp_path / 'run'}")
    assert "has no measurements of the proposals: their latency are predictions" in said
    proposals = load_proposals(tmp_path / "run" / "proposals.json")
    assert "latency" in proposals[0].predicted and "latency" not in proposals[0].measured
    assert json.loads((tmp_path / "run" / "run.json").read_text())["identity"]["device"] == "journal:bench.jsonl"
    # What was proposed goes to the board, and what that measured verifies it.
    run("bundle", f"--model={tiny}", "-o", tmp_path / "verify.pyz", f"--assignment={tmp_path / 'run/proposals.json'}",
        "--assignment=silu", "--assignment=relu", "--runs=3")  # fmt: skip
    subprocess.run([sys.executable, "verify.pyz"], cwd=tmp_path, check=True, capture_output=True)
    purposes = {(one.purpose, one.metric) for one in Journal(tmp_path / "verify.jsonl")}
    assert purposes == {("verify", "latency"), ("verify", "memory")}
    both = f"--device=journal:{measured},{tmp_path / 'verify.jsonl'}"
    said = run(*flags, both, f"--out={tmp_path / 'verified'}")
    assert "are predictions" not in said
    verified = load_proposals(tmp_path / "verified" / "proposals.json")
    assert {row.assignment for row in verified} == {row.assignment for row in proposals}
    assert {"latency", "memory", "tensor_memory", "nwot"} == set(verified[0].measured)


def test_tables_in_csv_are_a_device(tiny, tmp_path, run_folder, run, fast, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(run_folder / "tables" / "latency.csv", tmp_path / "mine.csv")
    flags = ("search", f"--model={tiny}", *fast, "--out=run")
    said = run(*flags, "--device=tables:mine.csv")
    assert "their latency are predictions" in said
    (best, *_) = load_proposals(tmp_path / "run" / "proposals.json")
    table = MetricTable.load(tmp_path / "mine.csv", best.assignment.with_swaps({}))
    assert set(best.measured) == {"nwot"}
    assert best.predicted["latency"].value < table.reference_value.value
    assert not [one for one in Journal(tmp_path / "run" / "journal.jsonl") if one.metric == "latency"]


def test_a_journal_of_another_model_is_refused(tiny, measured, tmp_path, refuses, fast):
    text = measured.read_text().replace('"model":"', '"model":"other')
    measured.write_text(text)
    line = refuses("search", f"--model={tiny}", *fast, f"--device=journal:{measured}", f"--out={tmp_path / 'run'}")
    assert "Expected measurements of this model" in line


@pytest.mark.parametrize(
    ("device", "flag"),
    [
        ("vela:ethos-u55-128", "--num_threads=2"),
        ("tables:mine.csv", "--delegate=none"),
        ("my_board:Meter", "--precision=int8"),
        ("onnxruntime:cpu", "--delegate=none"),
        ("journal:bench.jsonl", "--num_threads=2"),
    ],
)
def test_flags_that_a_device_does_not_heed(device, flag, tiny, refuses, fast):
    name = flag.partition("=")[0]
    assert f"Expected no {name} with --device=" in refuses(
        "search", f"--model={tiny}", *fast, f"--device={device}", flag
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("journal:missing.jsonl", "Received: missing.jsonl, which does not exist"),
        ("journal:empty.jsonl", "Received: empty.jsonl, which has none"),
        ("tables:missing.csv", "Received: missing.csv (FileNotFoundError"),
        ("tables:empty.jsonl", "Expected a metric table. Received: empty.jsonl"),
        ("onnxruntime:gpu", "Received: 'gpu'"),
        ("vela:ethos-u65", "Received: 'ethos-u65'"),
        ("vela:ethos-u65-512?memory=big", "Received: 'memory'"),
        ("ssh:pi", "Expected ssh://USER@HOST"),
        ("ssh://-oProxyCommand=x", "Expected ssh://USER@HOST"),
        ("ssh://pi@host?pyhton=x", "Did you mean 'python'?"),
        ("my_board:Nothing", "AttributeError"),
        ("my_board:nothing", "to be a keras_actnas.devices.Device. Received: NoneType"),
        ("hst", "Did you mean 'host'?"),
    ],
)
def test_devices_that_cannot_be(spec, message, tiny, tmp_path, refuses, fast):
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "my_board.py").write_text(BOARD)
    assert message in refuses("search", f"--model={tiny}", *fast, f"--device={spec}")


def test_a_device_of_one_s_own(tiny, tmp_path, monkeypatch, run, fast):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_meter.py").write_text(BOARD)
    said = run("search", f"--model={tiny}", *fast, "--device=my_meter:Meter", "--minimize=energy", "--out=run")
    assert "energy, mJ" in said
    (best, *_) = load_proposals(tmp_path / "run" / "proposals.json")
    assert best.predicted["energy"].value == pytest.approx(best.measured["energy"].value, rel=0.1)
    assert best.measured["energy"].standard_error == 0


def test_devices_are_listed_with_what_they_need(run):
    said = run("devices")
    for name in ("host", "ssh://", "journal:", "vela:", "onnxruntime:", "MODULE:NAME"):
        assert name in said
    assert "ai_edge_litert" in said
    assert "ethos-u65-512" in said


def test_a_bundle_is_not_overwritten(tiny, tmp_path, refuses):
    (tmp_path / "bench.pyz").write_text("mine")
    assert "give --overwrite" in refuses("bundle", f"--model={tiny}", "-o", "bench.pyz")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "Expected --out=FILE.pyz"),
        (("-o", "x.pyz", "yolov5n"), "Expected --out=FILE.pyz. Received: 'yolov5n'"),
        (("-o", "x.pyz", "--activations=relu,mish"), "that a .tflite can take on"),
        (("-o", "x.pyz", "--assignment=missing.json"), "missing.json"),
        (("-o", "nowhere/x.pyz", *DESIGN), "nowhere"),
    ],
)
def test_bundles_that_cannot_be(flags, message, tiny, refuses):
    assert message in refuses("bundle", f"--model={tiny}", *flags)
