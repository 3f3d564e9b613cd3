"""`keras-actnas search`: what it leaves and prints, that it survives a kill, and what it refuses."""

import collections
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_actnas import cli
from keras_actnas.core import CANDIDATES, Assignment, Journal, load_proposals
from keras_actnas.export import TFLiteNetwork
from keras_actnas.search import RunFolder, mixtures
from keras_actnas.surgery import current_assignment
from keras_actnas.tflite_bench import TFLiteRunner

ROOT = Path(cli.__file__).parents[1]


def test_a_search_leaves_everything(run_folder):
    names = {str(path.relative_to(run_folder)) for path in run_folder.rglob("*") if path.is_file()}
    assert names == {
        "run.json", "journal.jsonl", "reference.tflite", "proposals.json", "summary.txt", "report.html",
        "best.json", "best.keras", "best.tflite", "latency.png", "nwot.png",
        "tables/latency.csv", "tables/latency.json", "tables/nwot.csv", "tables/nwot.json",
    }  # fmt: skip
    summary = (run_folder / "summary.txt").read_text(encoding="utf-8")
    assert "predicted" in summary and "measured" in summary and "nwot >= reference-50" in summary
    assert "fine-tune best.keras" in summary and "nwot need not follow accuracy" in summary
    for proposal in load_proposals(run_folder / "proposals.json"):
        assert proposal.name in summary


def test_the_results_fit_together(run_folder):
    best = Assignment.load(run_folder / "best.json")
    assert best == load_proposals(run_folder / "proposals.json")[0].assignment
    assert best == current_assignment(keras.models.load_model(run_folder / "best.keras"))
    assert best == TFLiteNetwork(run_folder / "best.tflite").reference


def test_the_same_command_continues_and_prints(run_folder, tiny, fast, capsys):
    before = (run_folder / "journal.jsonl").read_bytes()
    assert cli.main(["search", f"--model={tiny}", f"--out={run_folder}", *fast]) == 0
    out = capsys.readouterr().out
    assert f"Results in {run_folder}: best.keras, best.tflite" in out
    assert (run_folder / "summary.txt").read_text(encoding="utf-8") in out
    assert (run_folder / "journal.jsonl").read_bytes() == before


def test_the_default_folder_is_named_after_the_model(tiny, fast, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["score", f"--model={tiny}", *fast]) == 0
    assert (tmp_path / "runs" / "tiny" / "tables" / "nwot.csv").exists()


def test_a_function_is_a_model(fast, tmp_path, monkeypatch, capsys):
    (tmp_path / "my_tiny_nets.py").write_text(textwrap.dedent(FUNCTIONS), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert cli.main(["search", "--model=my_tiny_nets:build", *fast, "--activations=relu,silu"]) == 0
    assert (tmp_path / "runs" / "my_tiny_nets.build" / "best.tflite").exists()
    assert "all relu" in capsys.readouterr().out
    assert cli.main(["search", "--model=my_tiny_nets:build", *fast, "--activations=relu,silu"]) == 0


FUNCTIONS = """
    import keras

    def build():
        inputs = keras.Input((32, 32, 3))
        x = keras.layers.Conv2D(4, 3, strides=2, activation="silu", name="a")(inputs)
        x = keras.layers.Conv2D(4, 3, strides=2, activation="silu", name="b")(x)
        x = keras.layers.Conv2D(4, 3, strides=2, activation="silu", name="c")(x)
        return keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="pool")(x))

    def two_inputs():
        first, second = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
        return keras.Model([first, second], keras.layers.ReLU(name="act")(first + second))

    def any_size():
        inputs = keras.Input((None, None, 3))
        return keras.Model(inputs, keras.layers.Conv2D(4, 3, activation="silu", name="a")(inputs))

    def subclassed():
        return type("Own", (keras.Model,), {})()

    def plain():
        inputs = keras.Input((32, 32, 3))
        return keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs), name="plain")

    def flat():
        inputs = keras.Input((10,))
        return keras.Model(inputs, keras.layers.Dense(4, activation="relu", name="fc")(inputs))

    def diverged():
        model = build()
        for layer in model.layers:
            layer.set_weights([weight * float("nan") for weight in layer.get_weights()])
        return model

    def overflows():
        model = build()
        for layer in model.layers:
            layer.set_weights([weight * 1e30 for weight in layer.get_weights()])
        return model

    def number():
        return 3

    def raises():
        raise OSError("no\\nsuch weights")

    value = 5
"""


def test_without_matplotlib_the_results_are_there(run_folder, tiny, fast, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    (run_folder / "summary.txt").unlink()
    assert cli.main(["search", f"--model={tiny}", f"--out={run_folder}", *fast]) == 0
    out = capsys.readouterr().out
    assert 'pip install "keras-actnas[report]"' in out
    assert "Results in" in out
    assert (run_folder / "summary.txt").exists()


def test_a_broken_bound_is_said(run_folder, tiny, fast, capsys):
    """Predictions and measurements can disagree; then the summary says that nothing keeps the bound as measured."""
    from keras_actnas.commands.search import summarize
    from keras_actnas.core import Constraint, Estimate, Proposal
    from keras_actnas.search import SearchResult, SearchSettings

    silu = Assignment.uniform(["a"], "silu")
    reference = Proposal("reference", silu, measured={"latency": Estimate(10.0), "nwot": Estimate(5.0)})
    relu = Assignment.uniform(["a"], "relu")
    slow = Proposal("ilp-1", relu, {"latency": Estimate(8.0)}, {"latency": Estimate(11.0, 0.1), "nwot": Estimate(5.0)})
    tables = RunFolder(run_folder, json.loads((run_folder / "run.json").read_text())["identity"]).load_tables()

    def summary(*bounds, best=slow, **settings):
        settings = SearchSettings(constraints=tuple(map(Constraint.parse, bounds)), **settings)
        return summarize(SearchResult(reference, [best], [], tables, settings, {}))

    text = summary("latency<=90%")
    assert f"No proposal keeps {Constraint.parse('latency<=90%')} as measured; ilp-1 comes closest" in text
    assert "--networks" in text
    assert "No proposal keeps" not in summary("latency<=120%") and "itself" not in summary("latency<=120%")
    itself = summary("latency<=120%", best=dataclasses.replace(slow, assignment=silu))
    assert "ilp-1 is the reference itself: nothing that is better keeps latency <= 120%" in itself
    assert "nwot need not follow accuracy" in itself
    fine_tuned = summary("latency<=120%", train_data="my_task:load")
    assert "after 1000 steps of fine-tuning" in fine_tuned and "need not follow" not in fine_tuned


# What is refused. Each row: flags (a model unless they name one), and what the line says.


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "Expected --model: a YOLO by name, a .keras file, an Ultralytics checkpoint (.pt) or"),
        (("--model=yolov5m6",), "Received: 'yolov5m6'. Did you mean 'yolov5m'"),
        (("--model=net.tflite",), "Expected --model to be a YOLO by name, a .keras file, an Ultralytics checkpoint"),
        (("--model=none.keras",), "Received: none.keras, which does not exist"),
        (("--model=yolov5n", "--image_size=100"), "multiples of 32"),
        (("--model=yolov5n", "--image_size=0"), "Expected `input_shape`"),
        (("--model=yolov5n", "--image_size=-32"), "Expected --image_size such as 320 or 320x256. Received: '-32'"),
        (("--model=yolov5n", "--image_size=big"), "Received: 'big'"),
        (("--model=yolov5n", "--image_size=64", "--score_image_size=65"), "multiples of 32"),
        (("--model=yolov5n", "--num_classes=0"), "num_classes"),
        (("--model=nosuchmodule:build",), "that can be imported. Received: 'nosuchmodule:build' (ModuleNotFoundError"),
        (("--model=my_nets:nothing",), "that can be imported. Received: 'my_nets:nothing' (AttributeError"),
        (("--model=my_nets:",), "that can be imported"),
        (("--model=:build",), "that can be imported"),
        (("--model=my_broken_nets:build",), "that can be imported. Received: 'my_broken_nets:build' (SyntaxError"),
        (("--model=my_nets:number",), "Expected my_nets:number to return a keras.Model. Received: int"),
        (("--model=my_nets:value",), "Received: TypeError: 'int' object is not callable"),
        (("--model=my_nets:raises",), "called without arguments. Received: OSError: no such weights"),
        (("--model=my_nets:two_inputs",), "Received: 2 inputs"),
        (("--model=my_nets:any_size",), "image of fixed size"),
        (("--model=my_nets:flat",), "image of fixed size"),
        (("--model=my_nets:subclassed",), "Expected a functional or Sequential Keras model"),
        (("--model=my_nets:plain",), "Expected a model with activations to swap. Received: 'plain', which has none"),
        (("--model=my_nets:diverged",), "Expected finite weights. Received: NaN or infinity in 'a/kernel'"),
        (("--model=my_nets:build", "--image_size=64"), "my_nets:build has its own, (32, 32). Received: '64'"),
    ],
)
def test_models_that_cannot_be_searched(refuses, tmp_path, monkeypatch, fast, flags, message):
    (tmp_path / "my_nets.py").write_text(textwrap.dedent(FUNCTIONS), encoding="utf-8")
    (tmp_path / "my_broken_nets.py").write_text("def build(:\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_nets", raising=False)
    assert message in refuses("search", *fast, *flags)
    assert not any(path.stat().st_size for path in tmp_path.rglob("journal.jsonl"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--device=raspberry",), "Expected --device to be one of host, ssh://USER@HOST, "),
        (("--device=vla:ethos-u65-512",), "Did you mean 'vela'?"),
        (("--activations=relu,rleu",), "Received: 'rleu'. Did you mean 'relu'"),
        (("--activations=",), "at least one activation"),
        (("--activations=relu,softplus",), "that a .tflite can take on"),
        (("--minimize=energy",), "Received: 'energy'. Known: latency, nwot"),
        (("--maximize=map",), "Received: 'map'"),
        (("--minimize=latency", "--maximize=nwot"), "Expected --minimize or --maximize. Received: both"),
        (("--constraint=memory<=3",), "Received: 'memory'. Known: latency, nwot"),
        (("--constraint=latency<90%",), "Expected a constraint such as 'latency<=90%'"),
        (("--constraint=latency<=fast",), "Received: 'latency<=fast'"),
        (("--constraint=latency<=80%", "--constraint=latency>=90%"), "do not contradict each other"),
        (("--pin=stem_atc=relu",), "a pinned site that the model has. Received: 'stem_atc'. Did you mean 'stem_act'"),
        (("--pin=last=relu", "--forbid=relu"), "pinned activations that are not forbidden"),
        (("--group=last,stem_act", "--pin=last=relu", "--pin=stem_act=silu"), "none for the group stem_act, last"),
        (("--minimize=latency+energy",), "Received: 'energy'. Known: latency, nwot"),
        (("--confidence=1",), "confidence of at least 0.5 and below 1. Received: 1.0"),
        (("--top_k=0",), "--top_k=0"),
        (("--top_k=many",), "--top_k=many"),
        (("--min_distance=0",), "--min_distance=0"),
        (("--num_threads=0",), "--num_threads=0"),
        (("--networks=0",), "--networks=0"),
        (("--networks=6",), "networks of at least 7 for 5 activations. Received: 6"),
        (("--runs=-1",), "--runs=-1"),
        (("--minutes=-1",), "--minutes=-1"),
        (("--minutes=nan",), "minutes of at least 0"),
        (("--batch_size=1",), "--batch_size=1"),
        (("--seeds=-1",), "--seeds=-1"),
        (("--seed=-1",), "--seed=-1"),
        (("--pixel_max=0",), "pixel_max above 0"),
        (("--pixel_max=-255",), "pixel_max above 0"),
        (("--design=factorial",), "--design=factorial"),
        (("--delegate=gpu",), "--delegate=gpu"),
        (("--solver=gurobi",), "--solver=gurobi"),
        (("--batch_norm=train",), "--batch_norm=train"),
        (("--image_size=64",), "has its own, (32, 32). Received: '64'"),
        (("--imgs=x",), "Unknown command line flag 'imgs'"),
        (("--constrain=nwot>=reference",), "Did you mean: constraint"),
        (("yolov5n",), "Expected flags only. Received: 'yolov5n'; write --model=yolov5n"),
        (("--images=nowhere",), "Received: nowhere, which is no folder"),
        (("--images=empty",), "Received: a folder without any"),
        (("--images=broken",), "photo.jpg, broken or of another kind"),
        (("--images=white",), "image 1 is the same as image 0"),
        (("--out=occupied",), "Received: occupied, which holds other files"),
        (("--out=file",), "Expected a folder that can be written. Received: file"),
        (("--out=file/sub",), "Expected a folder that can be written. Received: file/sub"),
        (("--out=other",), "Received: other, which belongs to a run with model='another'"),
    ],
)
def test_flags_that_cannot_be(refuses, tiny, tmp_path, monkeypatch, fast, flags, message):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "broken", "white", "occupied"):
        Path(name).mkdir()
    Path("broken/photo.jpg").write_bytes(b"\xff\xd8 and no more")
    Image.new("RGB", (64, 64), "white").save("white/photo.png")
    Path("occupied/thesis.txt").write_text("keep", encoding="utf-8")
    Path("file").write_text("keep", encoding="utf-8")
    RunFolder("other", {"model": "another"})
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert message in refuses("search", f"--model={tiny}", *fast, *flags)
    assert {path: path.read_bytes() for path in before} == before
    assert not any(path.stat().st_size for path in Path().rglob("journal.jsonl"))
    assert not list(Path().rglob("*.tflite"))


def test_rules_and_a_weighted_sum_hold_in_what_is_verified(tiny, run_folder, tmp_path, fast):
    copy = tmp_path / "run"
    shutil.copytree(run_folder, copy)
    flags = ("--minimize=latency-0.01*nwot", "--pin=last=relu6", "--group=stem_act,shared_act", "--max_activations=2")
    assert cli.main(["search", f"--model={tiny}", f"--out={copy}", *fast, *flags]) == 0
    for row in load_proposals(copy / "proposals.json"):
        assert row.assignment["last"] == "relu6"
        assert row.assignment["stem_act"] == row.assignment["shared_act"]
        assert len(row.assignment.counts()) <= 2


def test_a_read_only_run_folder(refuses, tiny, tmp_path, monkeypatch, fast):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert "read-only" in refuses("search", f"--model={tiny}", "--out=ro", *fast)


def test_a_bound_out_of_reach(refuses, tiny, run_folder, fast):
    flags = [flag for flag in fast if "constraint" not in flag]
    line = refuses("search", f"--model={tiny}", f"--out={run_folder}", *flags, "--constraint=latency<=1%")
    assert "closest that can be met is latency <= " in line


def test_a_keras_file_with_a_layer_of_one_s_own(refuses, tmp_path, fast):
    script = f"""
        import keras

        class Own(keras.layers.Layer):
            def call(self, inputs):
                return inputs

        inputs = keras.Input((32, 32, 3))
        x = keras.layers.Conv2D(4, 3, activation="silu")(inputs)
        keras.Model(inputs, Own()(x)).save({str(tmp_path / "own.keras")!r})
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, capture_output=True)
    line = refuses("search", f"--model={tmp_path / 'own.keras'}", *fast)
    assert "Expected a .keras file that Keras can load" in line
    assert "Could not locate class 'Own'" in line
    assert "--model=module:function" in line


@pytest.mark.parametrize("content", [b"", b"text", "cut"])
def test_a_keras_file_that_is_none(refuses, tmp_path, tiny, fast, content):
    path = tmp_path / "bad.keras"
    path.write_bytes(tiny.read_bytes()[:5000] if content == "cut" else content)
    assert "Expected a .keras file that Keras can load. Received: " in refuses("search", f"--model={path}", *fast)


class Watched:
    """A search in a process of its own, whose journal is watched."""

    def __init__(self, model, out, flags):
        self.journal = out / "journal.jsonl"
        arguments = [sys.executable, "-m", "keras_actnas.cli", "search", f"--model={model}", f"--out={out}", *flags]
        self.process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def lines(self):
        return self.journal.read_bytes().count(b"\n") if self.journal.exists() else 0

    def kill_at(self, lines):
        """Kills it without warning as soon as the journal has `lines` lines; returns whether it still ran then."""
        while self.process.poll() is None and self.lines() < lines:
            time.sleep(0.0005)
        running = self.process.poll() is None
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        return running


@pytest.mark.slow
def test_killed_at_any_moment_it_continues(tiny, tmp_path):
    """Nothing is lost but the measurement in progress, and nothing is measured twice."""
    out = tmp_path / "run"
    flags = ("--networks=60", "--runs=50", "--seeds=3", "--batch_size=8", "--constraint=nwot>=reference-50")
    hit = []
    for lines in (0, 1, 20, 58, 100, 190, 235):
        had = Watched(tiny, out, flags)
        before = had.lines()
        hit.append(had.kill_at(lines))
        assert had.lines() >= before
    assert sum(hit) >= 5
    finished = Watched(tiny, out, flags)
    output, _ = finished.process.communicate(timeout=300)
    assert finished.process.returncode == 0, output.decode()
    keys = [
        (m.metric, m.purpose, m.assignment.digest, m.conditions.get("seed")) for m in Journal(out / "journal.jsonl")
    ]
    assert len(set(keys)) == len(keys)
    counts = collections.Counter(key[:2] for key in keys)
    reference = TFLiteNetwork(out / "reference.tflite").reference
    design = set(mixtures(reference, CANDIDATES, 60))
    assert counts["latency", "design"] == len(design)
    scored = {key[2:] for key in keys if key[0] == "nwot"}
    assert scored >= {(assignment.digest, seed) for assignment in design | {reference} for seed in range(3)}
    assert {path.name for path in out.iterdir()} >= {"best.keras", "best.tflite", "proposals.json", "latency.png"}
    assert not [path for path in out.rglob(".*") if "partial" in path.name]


@pytest.mark.slow
def test_an_interrupt_is_answered_kindly(tiny, tmp_path):
    flags = ("--networks=100", "--runs=50", "--seeds=3", "--batch_size=8")
    watched = Watched(tiny, tmp_path / "run", flags)
    while watched.process.poll() is None and watched.lines() < 20:
        time.sleep(0.001)
    watched.process.send_signal(signal.SIGINT)
    output, _ = watched.process.communicate(timeout=60)
    assert watched.process.returncode == 130
    assert b"the same command continues" in output
    assert b"Traceback" not in output


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV3Small", "EfficientNetB0"])
def test_a_classifier_of_keras_applications(name, tmp_path, fast):
    """Its sites include activations given as arguments and those of squeeze-and-excite blocks."""
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3), classes=10)
    model.save(tmp_path / "net.keras")
    out = tmp_path / "run"
    flags = [flag for flag in fast if "networks" not in flag]
    assert cli.main(["search", f"--model={tmp_path / 'net.keras'}", f"--out={out}", "--networks=30", *flags]) == 0
    best = keras.models.load_model(out / "best.keras")
    assert current_assignment(best) == Assignment.load(out / "best.json")
    runner = TFLiteRunner(out / "best.tflite")
    runner.warm_up(1)
    image = np.random.default_rng(0).random((1, 96, 96, 3), np.float32)
    np.testing.assert_allclose(runner.outputs()[0], np.asarray(best(image)), atol=1e-4)


@pytest.mark.slow
def test_a_yolo_by_name(tmp_path, fast):
    flags = ("--model=yolov5n", "--image_size=64x96", "--score_image_size=64", f"--out={tmp_path / 'run'}")
    assert cli.main(["search", *flags, *fast]) == 0
    best = Assignment.load(tmp_path / "run" / "best.json")
    assert len(best) == 69
    assert "model.0.act" in best
    assert TFLiteNetwork(tmp_path / "run" / "best.tflite").reference == best
