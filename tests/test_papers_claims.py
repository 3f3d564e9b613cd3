"""The benchmark of the papers' claims: what is trained, how results become tables, a training as a person runs it."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks" / "papers_claims"
DATA = Path("/usr/share/datasets/fashion-mnist")
NEEDS_DATA = pytest.mark.skipif(not DATA.is_dir(), reason="needs the Debian package dataset-fashion-mnist")
NEEDS_TENSORFLOW = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the benchmark uses TensorFlow")
RECIPE = {"network": "mobilenet", "epochs": 12, "images": 20_000, "tested": 50_000}


def run(script, *arguments):
    command = [sys.executable, str(FOLDER / script), *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def results(path, accuracies, recipe=RECIPE):
    """Writes results: configuration -> accuracies in % by seed."""
    line = {"parameters": 15_562, "macs": 337_264, "difference": 0.0, "cpu_seconds": 50.0, "recipe": recipe}
    path.write_text(
        "".join(
            json.dumps({"name": name, "seed": seed, "accuracy": value / 100, **line}) + "\n"
            for name, values in accuracies.items()
            for seed, value in enumerate(values)
        )
    )
    return path


@pytest.fixture
def benchmark(monkeypatch):
    """The benchmark's modules, which have names that others may have, too."""
    for path in (*FOLDER.glob("*.py"), *FOLDER.with_name("proxy_fidelity").glob("*.py")):
        monkeypatch.setitem(sys.modules, path.stem, None)  # So that what was there before is put back.
        del sys.modules[path.stem]
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    import train

    return train


def test_tables_pair_the_seeds(tmp_path):
    # Seeds differ by a point; ACON-C is 0.4 +- 0.1 above ReLU with each of them, ACON-B about the same, ACON-A below.
    path = results(
        tmp_path / "results.jsonl",
        {
            "relu": [87.0, 88.0, 89.0],
            "acon_a": [86.5, 87.6, 88.5],
            "acon_b": [87.2, 88.0, 88.9],
            "acon_c": [87.3, 88.4, 89.5],
            "pea_stochastic_gelu_90": [87.5, 88.5, 89.5],
            "gelu": [87.4],
        },
    )
    with path.open("a") as file:
        file.write('{"name": "relu", "seed": 3, "acc')  # What a killed run leaves behind.
    done = run("tables.py", path)
    assert done.returncode == 0, done.stderr
    cells = {line.split(" | ")[0]: line.split(" | ")[1:] for line in done.stdout.splitlines() if line.startswith("| ")}
    assert cells["| ACON-A (Swish)"][0] == "12.47 ± 1.00 (**-0.47 ± 0.03**)"
    assert cells["| ACON-B"][0] == "11.97 ± 0.85 (+0.03 ± 0.09)"
    assert cells["| ACON-A (Swish) - ReLU"] == ["+2.80", "-0.47 ± 0.03", "3", "contradicted |"]
    assert cells["| ACON-B - ReLU"] == ["+3.60", "+0.03 ± 0.09", "3", "same sign, not significant |"]
    assert cells["| ACON-C - ReLU"] == ["+3.90", "+0.40 ± 0.06", "3", "reproduces |"]
    assert cells["| PEA SG90 - ReLU"] == ["+0.54", "+0.50 ± 0.00", "3", "reproduces |"]
    assert cells["| upper limit: GELU - ReLU"] == ["more", "+0.40 ± nan", "1", "same sign, not significant |"]
    assert "| PEA SM90 - ReLU" not in cells
    assert path.read_text().endswith('"acc')  # Another process may be writing that line.


def test_tables_of_several_recipes(tmp_path):
    path = results(tmp_path / "results.jsonl", {"relu": [87.0]})
    other = results(tmp_path / "other.jsonl", {"gelu": [87.0]}, {**RECIPE, "epochs": 6})
    path.write_text(path.read_text() + other.read_text())
    done = run("tables.py", path)
    assert done.returncode == 1
    assert done.stderr == "error: Expected trainings of one recipe. Received: several of 'mobilenet'; split the file.\n"


def test_a_killed_run_leaves_no_half_line(benchmark, tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"seed": 0}\n{"se')
    benchmark.append(path, {"seed": 1})
    assert path.read_text() == '{"seed": 0}\n{"seed": 1}\n'
    assert benchmark.read(path) == [{"seed": 0}, {"seed": 1}]


def test_training_waits_while_the_file_is_there(benchmark, tmp_path):
    file = tmp_path / "quiet"
    file.touch()
    timer = threading.Timer(0.3, file.unlink)
    timer.start()
    benchmark.Pause(str(file)).on_train_batch_begin(0)
    assert not file.exists()
    timer.join()
    benchmark.Pause("").on_train_batch_begin(0)


@NEEDS_TENSORFLOW
def test_configurations_begin_with_the_same_weights(benchmark):
    known = benchmark.configurations()
    assert len(known) == 25
    relu = benchmark.relu_network("mobilenet")
    images = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    own, swish = (known[name].build(relu, 0)(images) for name in ("acon_c_as_swish", "silu"))
    np.testing.assert_allclose(own, swish, rtol=1e-4, atol=1e-5)
    kernels = {weight.path: np.array(weight) for weight in relu.weights}
    for name in ("pea_stochastic_mish_115", "acon_b"):
        model = known[name].build(relu, 0)
        for weight in model.weights:
            assert weight.path not in kernels or np.array_equal(np.array(weight), kernels[weight.path])
        assert set(kernels) <= {weight.path for weight in model.weights}
    phases = [known[name].callbacks(12)[0].ramp for name in ("pea_weighted_gelu_115", "pea_weighted_gelu_90")]
    assert [(ramp.start, ramp.end) for ramp in phases] == [(0.5, 11.5), (0.5, 9.0)]
    assert known["acon_b"].callbacks(12) == []


@NEEDS_TENSORFLOW
def test_the_order_of_images_is_the_seeds(benchmark):
    recipe = benchmark.Recipe("mobilenet", images=10, tested=0, epochs=2, batch=5, decay=0.0)
    images, labels = np.arange(10.0), np.arange(10)
    first, again, other = (
        [batch.numpy().tolist() for batch, _ in benchmark.batches(images, labels, recipe, seed)] for seed in (0, 0, 1)
    )
    assert first == again != other
    assert sorted(first[0] + first[1]) == sorted(first[2] + first[3]) == list(range(10))
    assert first[0] + first[1] != first[2] + first[3]


@NEEDS_TENSORFLOW
def test_only_kernels_decay(benchmark):
    model = benchmark.configurations()["acon_c"].build(benchmark.relu_network("mobilenet"), 0)
    recipe = benchmark.Recipe("mobilenet", images=1200, tested=0, epochs=1, batch=1, decay=0.01, warm_up=1 / 1200)
    weights = model.trainable_weights
    before = {weight.path: np.array(weight) for weight in weights}
    recipe.optimizer(model).apply([np.zeros(weight.shape, "float32") for weight in weights], weights)
    decayed = [weight.path for weight in weights if not np.array_equal(np.array(weight), before[weight.path])]
    assert decayed == [path for path in before if path.endswith("kernel") and "depthwise" not in path]
    # Half of the warm-up's only step: 0.1 / 2; and 1 / (1 - momentum) = 10.
    assert np.allclose(model.get_layer("stem_conv").kernel, before["stem_conv/kernel"] * (1 - 0.05 * 0.1), rtol=1e-5)


def test_the_learning_rate_rises_and_falls(benchmark):
    recipe = benchmark.Recipe("mobilenet", images=1200, tested=0, epochs=1, batch=10, decay=0.0)
    schedule = recipe.optimizer(benchmark.CLASSIFIERS["mobilenet"]())._learning_rate
    rates = [float(schedule(step)) for step in range(120)]
    assert rates[:5] == pytest.approx([0.01, 0.03, 0.05, 0.07, 0.09])
    assert rates[5] == max(rates) == pytest.approx(0.1, rel=0.01)
    assert rates[-1] == pytest.approx(0.1 * 0.5 / 115)


@pytest.mark.slow
@NEEDS_DATA
@NEEDS_TENSORFLOW
def test_training_goes_on_where_it_was(tmp_path):
    out = tmp_path / "results.jsonl"
    small = ("--network", "mobilenet", "--data", DATA, "--images", 200, "--epochs", 1, "--seeds", 1, "--out", out)
    done = run("train.py", *small, "--only", "relu,pea_stochastic_gelu_90,acon_c")
    assert done.returncode == 0, done.stderr[-2000:]
    first = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["name"] for line in first] == ["relu", "pea_stochastic_gelu_90", "acon_c"]
    assert [line["difference"] for line in first[:2]] == [0, 0] and 0 < first[2]["difference"] < 1e-4
    assert first[0]["parameters"] == first[1]["parameters"] < first[2]["parameters"]
    assert len({line["macs"] for line in first}) == 1
    assert all(line["recipe"]["tested"] == 69_800 for line in first)

    out.write_text(out.read_text()[:-5])
    again = run("train.py", *small, "--only", "relu,acon_c")
    assert "acon_c" in again.stdout and "relu" not in again.stdout
    repeated = json.loads(out.read_text().splitlines()[2])
    assert repeated["accuracy"] == first[2]["accuracy"]  # Seeds repeat.
    assert run("tables.py", out).returncode == 0
    unknown = run("train.py", *small, "--only", "acon_d")
    assert unknown.stderr.splitlines()[-1].startswith("error: Expected --only of relu, gelu")
