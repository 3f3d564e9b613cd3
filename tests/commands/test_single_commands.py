"""`keras-actnas convert`, `bench`, `score`, `solve` and `apply`, each by itself."""

import json
import re

import keras
import numpy as np
import pytest

from keras_actnas import cli
from keras_actnas.core import Assignment, Constraint, MetricTable, load_proposals
from keras_actnas.export import TFLiteNetwork, to_tflite
from keras_actnas.search import NWOTScorer, Rules, image_batch, solve_ilp, solvers
from keras_actnas.surgery import current_assignment
from keras_actnas.tflite_bench import TFLiteRunner

SITES = {"stem_act": "silu", "argument": "relu", "shared_act": "relu6", "last": "silu"}


def run(*arguments):
    assert cli.main([str(argument) for argument in arguments]) == 0


@pytest.fixture
def assignment_file(tmp_path):
    path = tmp_path / "assignment.json"
    path.write_text(json.dumps({"stem_act": "relu", "shared_act": "hard_swish"}), encoding="utf-8")
    return path


# convert


def test_convert_names_the_sites(tiny_tflite):
    assert TFLiteNetwork(tiny_tflite).reference == SITES


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_convert_precisions(tiny, tmp_path, photos, capsys, precision):
    out = tmp_path / "net.tflite"
    run("convert", f"--model={tiny}", f"--out={out}", f"--precision={precision}", f"--images={photos}",
        "--calibration_images=4", "--noeditable")  # fmt: skip
    assert f"{out}: {precision}" in capsys.readouterr().out
    TFLiteRunner(out).warm_up(1)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "Expected --out=FILE.tflite. Received: None"),
        (("--out=net.keras",), "Expected --out=FILE.tflite. Received: 'net.keras'"),
        (("--out=net.tflite", "extra"), "Received: 'extra'"),
        (("--out=net.tflite", "--precision=int4"), "--precision=int4"),
        (("--out=net.tflite", "--precision=int8", "--calibration_images=0"), "--calibration_images=0"),
        (("--out=net.tflite", "--precision=int8", "--images=nowhere"), "nowhere, which is no folder"),
        (("--out=nowhere/net.tflite",), "Expected a place that can be written. Received: nowhere/net.tflite"),
    ],
)
def test_convert_refuses(refuses, tiny, tmp_path, flags, message):
    assert message in refuses("convert", f"--model={tiny}", *flags)
    assert not (tmp_path / "net.tflite").exists()


# bench


def test_bench_one_file_and_two(tiny_tflite, capsys):
    run("bench", tiny_tflite, "--runs=3")
    lines = capsys.readouterr().out.splitlines()
    assert "3 timed runs" in lines[0] and lines[1].startswith(f"{tiny_tflite}: median ")
    starts = (
        "inference: mean",
        "init ",
        "delegate partitions: ",
        "memory: peak ",
        "tensors: at most 0.0",
        "12 operators: CONV",
    )
    for start in starts:
        assert any(line.startswith(f"  {start}") for line in lines), start
    assert not any("float islands" in line for line in lines)
    run("bench", tiny_tflite, f"--reference={tiny_tflite}", "--runs=4", "--num_threads=2", "--delegate=none")
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("  memory: peak ") for line in lines) == 2
    assert lines[-1].startswith("ratio ") and "95 % interval" in lines[-1]


def test_bench_names_float_islands(tmp_path, capsys):
    x = inputs = keras.Input((16, 16, 3))
    for activation in ("relu", "elu"):
        x = keras.layers.Conv2D(4, 3, activation=activation)(x)
    images = np.random.default_rng(0).random((4, 16, 16, 3)).astype("float32")
    to_tflite(keras.Model(inputs, x), tmp_path / "int8.tflite", "int8", images)
    run("bench", tmp_path / "int8.tflite", "--runs=2")
    assert "  float islands in the quantized graph: 1 ELU" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("flag", ["--networks=3", "--device=host", "--out=folder", "--model=yolov5n", "--constraint="])
def test_bench_of_a_file_refuses_flags_of_a_run(refuses, tiny_tflite, flag):
    line = refuses("bench", tiny_tflite, flag)
    assert "Expected --reference, --runs, --num_threads, --delegate with a .tflite" in line
    assert line.endswith(f"Received: {flag.partition('=')[0]}.")


def test_bench_a_table(tiny, tmp_path, fast, capsys):
    run("bench", f"--model={tiny}", f"--out={tmp_path / 'run'}", *fast)
    assert "latency of the reference: " in capsys.readouterr().out
    table = MetricTable.load(tmp_path / "run" / "tables" / "latency.json")
    assert dict(table.reference) == SITES
    assert not (tmp_path / "run" / "tables" / "nwot.json").exists()


@pytest.fixture(scope="session")
def bad_tflites(tiny_tflite, tmp_path_factory):
    """Files that are no network, or not one that can be used: name -> path."""
    folder = tmp_path_factory.mktemp("bad")
    whole = tiny_tflite.read_bytes()
    contents = {
        "empty": b"",
        "short": b"TFL3",
        "text": b"this is no network at all",
        "header": whole[:30],
        "half": whole[: len(whole) // 2],
        "most": whole[:-2000],
    }
    for name, content in contents.items():
        (folder / f"{name}.tflite").write_bytes(content)
    inputs = keras.Input((16, 16, 3))
    plain = keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs))
    to_tflite(plain, folder / "plain.tflite")
    import tensorflow as tf

    active = keras.Model(inputs, keras.layers.Conv2D(2, 3, activation="relu")(inputs))
    (folder / "dynamic.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(active).convert())
    return folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "Expected a .tflite file. Received: "),
        ("empty", "which is something else"),
        ("short", "which is something else"),
        ("text", "which is something else"),
        ("header", "header.tflite"),
        ("half", "half.tflite"),
        ("most", "most.tflite"),
        ("dynamic", "static shapes"),
    ],
)
def test_bench_refuses_files(refuses, bad_tflites, name, message):
    line = refuses("bench", bad_tflites / f"{name}.tflite", "--runs=2")
    assert message in line and "Expected" in line and "Received" in line


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("a.tflite", "b.tflite"), "Expected one .tflite, and the other as --reference. Received: 2 files"),
        (("--runs=0",), "--runs=0"),
        (("--delegate=gpu",), "--delegate=gpu"),
        (("--num_threads=0",), "--num_threads=0"),
        ((), "Expected --model"),
        (("--reference=nowhere.tflite", "TINY"), "nowhere.tflite"),
    ],
)
def test_bench_refuses_flags(refuses, tiny_tflite, flags, message):
    assert message in refuses("bench", *(tiny_tflite if flag == "TINY" else flag for flag in flags))


# score


def test_score_a_table(tiny, tmp_path, fast, capsys):
    run("score", f"--model={tiny}", f"--out={tmp_path / 'run'}", *fast)
    table = MetricTable.load(tmp_path / "run" / "tables" / "nwot.json")
    assert f"nwot of the reference: {table.reference_value.value:.5g}" in capsys.readouterr().out


def test_score_one_assignment(tiny, photos, assignment_file, capsys):
    run("score", f"--model={tiny}", f"--assignment={assignment_file}", "--seeds=2", "--batch_size=5",
        f"--images={photos}", "--seed=3")  # fmt: skip
    model = keras.models.load_model(tiny)
    scorer = NWOTScorer(model, image_batch(photos, 5, (32, 32, 3), 3))
    lines = capsys.readouterr().out.splitlines()
    for line, seed in zip(lines, (3, 4), strict=True):
        own, other = scorer.score({}, seed), scorer.score(Assignment.load(assignment_file), seed)
        assert line == f"seed {seed}: nwot {other:.5g}, reference {own:.5g}, difference {other - own:+.5g}"
    run("score", f"--model={tiny}", "--assignment=relu", "--seeds=0", "--batch_size=5", f"--images={photos}")
    assert capsys.readouterr().out.startswith("own weights: nwot ")


def test_score_refuses(refuses, tiny, assignment_file, photos):
    assert "Expected flags only" in refuses("score", "tiny.keras")
    assignment_file.write_text('{"model.0.act": "relu"}', encoding="utf-8")
    line = refuses("score", f"--model={tiny}", f"--assignment={assignment_file}", f"--images={photos}")
    assert "another model" in line
    assert "Received: 'rleu'" in refuses("score", f"--model={tiny}", "--assignment=rleu")


def test_score_by_training_once_for_all(tiny, tmp_path, monkeypatch, capsys, refuses):
    (tmp_path / "my_classes.py").write_text(
        "import numpy as np\n\n\ndef load():\n    random = np.random.default_rng(0)\n"
        "    return random.random((320, 32, 32, 3)), random.integers(0, 4, 320)\n"
    )
    asked = ("score", f"--model={tiny}", "--proxy=one_shot", "--assignment=relu", "--activations=relu")
    monkeypatch.chdir(tmp_path)
    run(*asked, "--train_data=my_classes:load", "--train_steps=2", "--seeds=1")
    found = capsys.readouterr().out
    loss = float(re.fullmatch(r"seed 0: one_shot ([\d.]+), reference [\d.]+, difference [-+\d.e]+\n", found)[1])
    assert loss == pytest.approx(np.log(4), rel=0.3)
    assert "give --train_data=FOLDER" in refuses(*asked)
    assert "Did you mean" in refuses(*asked, "--train_data=my_classes:load", "--loss=categorical_crossentrpy")


# solve


def test_solve_a_run(run_folder, tmp_path, capsys):
    target = tmp_path / "proposals.json"
    run("solve", f"--out={run_folder}", "--maximize=nwot", "--constraint=latency<=100%", "--top_k=3",
        "--min_distance=1", f"--proposals={target}")  # fmt: skip
    out = capsys.readouterr().out
    tables = {metric: MetricTable.load(run_folder / "tables" / f"{metric}.json") for metric in ("latency", "nwot")}
    bound = [Constraint.parse("latency<=100%")]
    expected = solve_ilp(tables, None, bound, maximize="nwot", top_k=3).proposals
    assert [p.assignment for p in load_proposals(target)] == [p.assignment for p in expected]
    for line, proposal in zip(out.splitlines(), expected, strict=False):
        assert line.startswith(
            f"{proposal.name} ({proposal.status}): latency {proposal.predicted['latency'].value:.3f}"
        )


def test_solve_tables_from_csv_and_json_agree(run_folder, tmp_path, capsys):
    reference = tmp_path / "reference.json"
    reference.write_text(json.dumps(SITES), encoding="utf-8")
    outputs = []
    for suffix in ("json", "csv"):
        tables = [f"--table={run_folder / 'tables' / f'{metric}.{suffix}'}" for metric in ("latency", "nwot")]
        run("solve", *tables, f"--reference={reference}", "--constraint=nwot>=reference-50", "--min_distance=1")
        outputs.append([line.split("; ")[-1] for line in capsys.readouterr().out.splitlines()])
    assert outputs[0] == outputs[1]
    assert not list(tmp_path.glob("proposals*"))


def loaded(run_folder):
    return {metric: MetricTable.load(run_folder / "tables" / f"{metric}.json") for metric in ("latency", "nwot")}


def test_solve_under_rules_with_confidence(run_folder, tmp_path):
    target = tmp_path / "p.json"
    run("solve", f"--out={run_folder}", "--minimize=latency-0.01*nwot", "--constraint=nwot>=reference-50", "--top_k=2",
        "--pin=last=relu6", "--group=stem_act,shared_act", "--forbid=hard_swish", "--forbid=argument=relu",
        "--max_activations=2", "--confidence=0.9", f"--proposals={target}")  # fmt: skip
    expected = solvers.solve_ilp(
        loaded(run_folder),
        {"latency": 1.0, "nwot": -0.01},
        [Constraint.parse("nwot>=reference-50")],
        rules=Rules({"last": "relu6"}, [("stem_act", "shared_act")], 2, ["hard_swish", ("argument", "relu")]),
        confidence=0.9,
        top_k=2,
        min_distance=3,
    )
    found = [proposal.assignment for proposal in load_proposals(target)]
    assert found == [proposal.assignment for proposal in expected.proposals]
    assert found[0]["last"] == "relu6" and found[0]["stem_act"] == found[0]["shared_act"]
    content = json.loads(target.read_text(encoding="utf-8"))
    assert (content["method"], content["confidence"], content["rules"]["pinned"]) == ("ilp", 0.9, {"last": "relu6"})


def test_solve_a_front(run_folder, tmp_path, capsys):
    target = tmp_path / "p.json"
    run("solve", f"--out={run_folder}", "--method=pareto", "--minimize=latency", "--maximize=nwot", "--steps=0",
        "--pin=last=silu", f"--proposals={target}")  # fmt: skip
    expected = solvers.solve_pareto(
        loaded(run_folder), ["latency"], maximize=["nwot"], rules=Rules({"last": "silu"}), steps=None
    )
    assert [one.assignment for one in load_proposals(target)] == [one.assignment for one in expected]
    assert len(expected) > 1
    assert capsys.readouterr().out.startswith("pareto-1 (optimal): latency ")


@pytest.mark.parametrize("method", ["random", "naive", "lzcm"])
def test_solve_with_the_paper_s_other_searches(method, run_folder, tmp_path, capsys):
    target, tables = tmp_path / "p.json", loaded(run_folder)
    flags = ["--constraint=", "--pin=last=relu6", "--seconds=0.2"] if method == "random" else ["--activation=relu6"]
    run("solve", f"--out={run_folder}", f"--method={method}", *flags, f"--proposals={target}")
    (found,) = load_proposals(target)
    if method == "random":  # Four sites: so many draws find the best.
        rules = Rules({"last": "relu6"})
        assert found.assignment == solve_ilp(tables, "latency", rules=rules).proposals[0].assignment
    else:
        assert found.assignment == getattr(solvers, f"solve_{method}")(tables, "relu6").assignment
    assert capsys.readouterr().out.startswith(f"{found.name} (feasible): latency ")


def test_solve_without_constraints(run_folder, tmp_path, capsys):
    run("solve", f"--out={run_folder}", "--constraint=", f"--proposals={tmp_path / 'p.json'}", "--top_k=1")
    table = MetricTable.load(run_folder / "tables" / "latency.json")
    (best,) = load_proposals(tmp_path / "p.json")
    assert best.predicted["latency"].value == pytest.approx(
        table.reference_value.value + np.nanmin(table.delta, axis=1).sum()
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "Expected either --out=RUN_FOLDER or --table=FILE"),
        (("--out=RUN", "--table=t.json"), "Expected either --out=RUN_FOLDER or --table=FILE"),
        (("--out=nowhere",), "Expected tables in nowhere/tables. Received: none"),
        (("--table=nowhere.json",), "Expected a metric table. Received: nowhere.json"),
        (("--table=nowhere.csv",), "Expected --reference=ASSIGNMENT.json"),
        (("--table=nowhere.csv", "--reference=ref.json"), "Expected a metric table. Received: nowhere.csv"),
        (("--table=broken.csv", "--reference=ref.json"), "Expected CSV with the columns"),
        (("--table=ref.json",), "Expected a metric table. Received: ref.json"),
        (("--out=RUN", "--minimize=energy"), "Received: 'energy'"),
        (("--out=RUN", "--constraint=memory<=3"), "Received: 'memory'"),
        (("--out=RUN", "--constraint=soon"), "Expected a constraint such as"),
        (("--out=RUN", "--constraint=latency<=80%", "--constraint=latency>=90%"), "contradict"),
        (("--out=RUN", "--constraint=latency<=1%"), "closest that can be met"),
        (("--out=RUN", "--solver=gurobi"), "--solver=gurobi"),
        (("--out=RUN", "--minimize=latency+"), "a sum of metrics, such as 'latency' or 'latency+0.5*memory'"),
        (("--out=RUN", "--pin=stem_atc=relu"), "a pinned site that the model has. Received: 'stem_atc'. Did you mean"),
        (("--out=RUN", "--pin=relu"), "Expected a pin such as 'stem=relu'. Received: 'relu'"),
        (("--out=RUN", "--pin=last=relu", "--forbid=relu"), "pinned activations that are not forbidden"),
        (("--out=RUN", "--pin=last=relu", "--pin=last=silu"), "Expected one pinned activation at 'last'"),
        (("--out=RUN", "--group=last"), "Expected a group of two or more sites"),
        (("--out=RUN", "--forbid=rleu"), "Did you mean 'relu'"),
        (("--out=RUN", "--max_activations=0"), "--max_activations=0"),
        (("--out=RUN", "--confidence=0.2"), "--confidence=0.2"),
        (("--out=RUN", "--confidence=1"), "confidence of at least 0.5 and below 1. Received: 1.0"),
        (("--out=RUN", "--method=gradient"), "--method=gradient"),
        (("--out=RUN", "--method=naive", "--pin=last=relu"), "flags that --method=naive heeds. Received: --pin"),
        (("--out=RUN", "--method=pareto", "--top_k=3"), "flags that --method=pareto heeds. Received: --top_k"),
        (("--out=RUN", "--steps=3"), "flags that --method=ilp heeds. Received: --steps"),
        (("--out=RUN", "--method=pareto", "--minimize=latency"), "two or three metrics for a front"),
        (("--out=RUN", "--method=random", "--constraint=latency<=1%", "--seconds=.01"), "draws does"),
        (("--table=LATENCY", "--table=LATENCY"), "one table of each metric. Received: two of latency (in ms)"),
        (("--out=RUN", "--proposals=nowhere/p.json"), "Expected a place that can be written"),
    ],
)
def test_solve_refuses(refuses, run_folder, tmp_path, flags, message):
    (tmp_path / "ref.json").write_text(json.dumps(SITES), encoding="utf-8")
    (tmp_path / "broken.csv").write_text("site;activation\n", encoding="utf-8")
    before = (run_folder / "proposals.json").read_bytes()
    assert message in refuses(
        "solve",
        *(
            flag.replace("RUN", str(run_folder)).replace("LATENCY", str(run_folder / "tables" / "latency.json"))
            for flag in flags
        ),
    )
    assert (run_folder / "proposals.json").read_bytes() == before


# apply


def test_apply_to_keras(tiny, assignment_file, tmp_path, capsys):
    out = tmp_path / "faster.keras"
    run("apply", f"--model={tiny}", f"--assignment={assignment_file}", f"--out={out}")
    assert "2 sites changed" in capsys.readouterr().out
    old, new = keras.models.load_model(tiny), keras.models.load_model(out)
    assert current_assignment(new) == {**SITES, "stem_act": "relu", "shared_act": "hard_swish"}
    for before, after in zip(old.get_weights(), new.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("suffix", ["keras", "tflite"])
@pytest.mark.parametrize("source", ["keras", "tflite"])
def test_apply_a_proposal(source, suffix, tiny, tiny_tflite, run_folder, refuses, tmp_path):
    model = tiny if source == "keras" else tiny_tflite
    out = tmp_path / f"out.{suffix}"
    arguments = ["apply", f"--model={model}", f"--assignment={run_folder / 'proposals.json'}#ilp-1", f"--out={out}"]
    if (source, suffix) == ("tflite", "keras"):
        assert "Expected --out=FILE.tflite, since the model is a .tflite" in refuses(*arguments)
        return
    run(*arguments)
    (wanted,) = [p.assignment for p in load_proposals(run_folder / "proposals.json") if p.name == "ilp-1"]
    if suffix == "keras":
        assert current_assignment(keras.models.load_model(out)) == wanted
        return
    runner, expected = TFLiteRunner(out), keras.models.load_model(tiny)
    other = tmp_path / "same.keras"
    run("apply", f"--model={tiny}", f"--assignment={run_folder / 'proposals.json'}#ilp-1", f"--out={other}")
    expected = keras.models.load_model(other)
    runner.warm_up(1)
    image = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    np.testing.assert_allclose(runner.outputs()[0], np.asarray(expected(image)), atol=1e-4)


def test_apply_one_activation_everywhere(tiny_tflite, tmp_path):
    run("apply", f"--model={tiny_tflite}", "--assignment=Swish", f"--out={tmp_path / 'silu.tflite'}")
    assert set(TFLiteNetwork(tmp_path / "silu.tflite").reference.values()) == {"silu"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--out=out.keras",), "Expected --assignment: an activation, a JSON file, or proposals.json#NAME"),
        (("--assignment=relu",), "Expected --out=FILE.keras or FILE.tflite. Received: None"),
        (("--assignment=relu", "--out=out.onnx"), "Received: 'out.onnx'"),
        (("--assignment=rleu", "--out=out.keras"), "Received: 'rleu'. Did you mean 'relu'"),
        (("--assignment=nowhere.json", "--out=out.keras"), "nowhere.json"),
        (("--assignment=nowhere.json#ilp-1", "--out=out.keras"), "Expected a proposals.json. Received: nowhere.json"),
        (("--assignment=PROPOSALS#ilp-99", "--out=out.keras"), "Received: 'ilp-99'. Did you mean 'ilp-"),
        (("--assignment=PROPOSALS", "--out=out.keras"), "or proposals.json#NAME. Received: "),
        (("--assignment=PROPOSALS#", "--out=out.keras"), "or proposals.json#NAME. Received: "),
        (("--assignment=other.json", "--out=out.keras"), "is the assignment for another model?"),
        (("--assignment=typo.json", "--out=out.keras"), "Received: 'stem_atc'"),
        (("--assignment=list.json", "--out=out.keras"), "Expected a JSON object of site: activation"),
        (("--assignment=broken.json", "--out=out.keras"), "broken.json"),
        (("--assignment=prelu", "--out=out.tflite"), "'prelu'"),
        (("--assignment=relu", "--out=nowhere/out.keras"), "nowhere/out.keras"),
        (("--assignment=relu", "--out=nowhere/out.tflite"), "nowhere/out.tflite"),
        (("--assignment=relu", "--out=out.keras", "extra"), "Expected"),
    ],
)
def test_apply_refuses(refuses, tiny, run_folder, tmp_path, flags, message):
    files = {
        "other.json": {"model.0.act": "relu", "model.1.act": "relu"},
        "typo.json": {"stem_atc": "relu"},
        "list.json": ["relu"],
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    flags = [flag.replace("PROPOSALS", str(run_folder / "proposals.json")) for flag in flags]
    assert message in refuses("apply", f"--model={tiny}", *flags)
    assert not list(tmp_path.glob("out.*"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "Expected"),
        ("empty", "Expected"),
        ("short", "Expected"),
        ("text", "Expected"),
        ("header", "Expected"),
        ("half", "Expected"),
        ("most", "Expected"),
        ("plain", "Expected a network with activations to swap"),
        ("dynamic", "static shapes"),
    ],
)
def test_apply_refuses_files(refuses, bad_tflites, tmp_path, name, message):
    path = bad_tflites / f"{name}.tflite"
    line = refuses("apply", f"--model={path}", "--assignment=relu", "--out=out.tflite")
    assert message in line and str(path) in line
    assert not (tmp_path / "out.tflite").exists()


def test_nothing_is_overwritten_when_something_is_refused(refuses, tiny, tmp_path):
    for name in ("out.keras", "out.tflite"):
        (tmp_path / name).write_text("keep", encoding="utf-8")
        refuses("apply", f"--model={tiny}", "--assignment=rleu", f"--out={name}")
        assert (tmp_path / name).read_text(encoding="utf-8") == "keep"
    refuses("convert", "--model=nowhere.keras", "--out=out.tflite")
    assert (tmp_path / "out.tflite").read_text(encoding="utf-8") == "keep"
