"""The examples that train and plot, as a person runs them, on little data."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = Path("/usr/share/datasets/fashion-mnist")
NEEDS_DATA = pytest.mark.skipif(not DATA.is_dir(), reason="needs the Debian package dataset-fashion-mnist")


def run(script, *arguments):
    command = [sys.executable, f"examples/{script}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def train(out, *arguments):
    return run("train_fashion_mnist.py", "--data", DATA, "--images", 512, "--epochs", 1, "--out", out, *arguments)


@NEEDS_DATA
def test_training_on_fashion_mnist(tmp_path):
    done = train(tmp_path, "--activations", "acon_c,weighted_pea")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "as a plain ReLU network, the same test accuracy, outputs equal" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {
        "results.json",
        "learning_curves.png",
        "alpha.png",
        "beta.png",
    }
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert set(runs) == {"acon_c/0", "weighted_pea/0"}
    alphas = [alpha for _, alpha in runs["weighted_pea/0"]["alpha"]]
    assert alphas[0] == 0 and alphas[-1] == 1 and alphas == sorted(alphas)

    again = train(tmp_path, "--activations", "acon_c")
    assert "(done before)" in again.stdout
    other = train(tmp_path, "--activations", "acon_c", "--epochs", 2)
    assert other.returncode == 1 and "Pass another --out" in other.stderr


@NEEDS_DATA
def test_an_unknown_activation(tmp_path):
    done = train(tmp_path, "--activations", "acon_d")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: Expected --activations of relu, silu, acon_c")


@pytest.mark.slow
@NEEDS_DATA
def test_the_ran_e_story(tmp_path):
    small = ("--data", DATA, "--images", 512, "--epochs", 1, "--runs", 5, "--out", tmp_path)
    done = run("search_ran_e.py", *small, "--linear", 0.2, 1.3)
    assert done.returncode == 0, done.stderr[-2000:]
    networks = json.loads((tmp_path / "results.json").read_text())["networks"]
    convolutions, collapsed = networks["all convolutions"], networks["super-network, collapsed, trained on"]
    assert all(block["collapsed"] for block in convolutions["blocks"])
    assert collapsed["macs"] == networks["A: as the search decided"]["macs"]
    assert all(title in done.stdout for title in networks)
    assert (tmp_path / "costs-host.jsonl").read_text().count("\n") > 6


def test_plots_of_activations(tmp_path):
    done = run("plot_activations.py", "--out", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list(tmp_path.glob("*.png"))) == 6
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("ACON-")]
    assert len(rows) >= 10
    for _, _, _, _, largest, upper, smallest, lower in rows:
        assert abs(float(largest) - float(upper)) < 1e-3 and abs(float(smallest) - float(lower)) < 1e-3
