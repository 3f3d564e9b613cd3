"""Across devices: what one device's proposals cost on another, and which runs cannot be compared."""

import dataclasses
import json

import numpy as np
import pytest

from keras_actnas.core import Assignment, Estimate, InputError, MetricTable
from keras_actnas.report import Run, compare_runs
from keras_actnas.report.comparison import predicted_difference


@pytest.fixture
def folders(make_run):
    return make_run("a", sites=6, networks=12), make_run("b", sites=6, networks=12, seed=7, device="board")


def change_identity(folder, **values):
    path = folder / "run.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["identity"].update(values)
    path.write_text(json.dumps(content), encoding="utf-8")


def row(text, name, block):
    lines = text.split("\n\n")[block].split("\n")
    return next(one for one in lines if one.startswith(f"{name} "))


def test_both_ways(folders):
    a, b = map(Run.load, folders)
    text = compare_runs(a, b)
    assert text.startswith(f"A: host ({folders[0]})\nB: board ({folders[1]})\n\nOn board, as its tables predict")
    for block, here, guest, letter, other in ((1, b, a, "B", "A"), (2, a, b, "A", "B")):
        for metric, unit in (("latency", " %"), ("nwot", "")):
            table = here.tables[metric]
            for name, assignment in (
                (f"{other}: ilp-1", guest.best.assignment),
                (f"{letter}: ilp-2", here.proposals[1].assignment),
                ("all relu", Assignment.uniform(table.reference, "relu")),
            ):
                value = table.predict(assignment)
                scale = 100 / table.reference_value.value if unit else 1.0
                shown = (
                    f"{(value.value - table.reference_value.value) * scale:+.2f} +- {value.standard_error * scale:.2f}"
                )
                assert shown + unit in row(text, name, block)
        assert f"{here.best.measured['latency'].value / 21.6 * 100 - 100:+.2f} +- 0.28 %" in row(
            text, f"{letter}: ilp-1", block
        )
        assert "6 silu" in row(text, "reference", block)


def test_the_sentences_compare_with_the_device_s_own_best(folders):
    a, b = map(Run.load, folders)
    difference = predicted_difference(b.tables["latency"], a.best.assignment, b.best.assignment)
    percent = 100 / 21.6
    change = f"{difference.value * percent:+.2f} +- {difference.standard_error * percent:.2f} %"
    assert f"A: ilp-1 against B: ilp-1: latency {change} of the reference" in compare_runs(a, b)


def test_a_run_against_itself(folders):
    a = Run.load(folders[0])
    assert "B: ilp-1 is the same network as A: ilp-1." in compare_runs(a, a)
    assert "A: ilp-1 is the same network as B: ilp-1." in compare_runs(a, a)


def test_an_estimate_is_called_one(folders, make_run):
    npu = Run.load(make_run("npu", sites=6, device="vela:ethos-u65-512", exact=True, seed=3))
    text = compare_runs(Run.load(folders[0]), npu)
    sentences = [line for line in text.split("\n") if " against " in line and ": latency " in line]
    assert [line.endswith("(an estimate).") for line in sentences] == [True, False]


def test_an_activation_that_the_other_device_cannot_run(folders):
    path = folders[1] / "tables" / "latency.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    relu6 = content["activations"].index("relu6")
    for values in content["delta"]:
        values[relu6] = None
    path.write_text(json.dumps(content), encoding="utf-8")
    a, b = map(Run.load, folders)
    count = list(a.best.assignment.values()).count("relu6")
    assert count > 0
    text = compare_runs(a, b)
    assert f"A: ilp-1 cannot be predicted: board has no values for relu6 at {count} of 6 sites." in text
    assert row(text, "all relu6", 1).split()[2] == "-"


def test_differences_share_what_both_networks_have():
    reference = Assignment.uniform(["a", "b"], "silu")
    delta, error = np.array([[0.0, -1.0], [0.0, -2.0]]), np.array([[0.0, 0.3], [0.0, 0.4]])
    table = MetricTable("latency", "ms", reference, ("silu", "relu"), Estimate(10.0), delta, error, residual=0.1)
    one, both = reference.with_swaps({"a": "relu"}), Assignment.uniform(reference, "relu")
    assert predicted_difference(table, both, both) == Estimate(0.0, 0.0)
    found = predicted_difference(table, both, one)
    assert found.value == pytest.approx(-2.0)
    assert found.standard_error == pytest.approx(np.sqrt(0.4**2 + 2 * 0.1**2))
    against = predicted_difference(table, both, reference)
    predicted = table.predict(both)
    assert against.value == pytest.approx(predicted.value - 10.0)
    assert against.standard_error == pytest.approx(predicted.standard_error)
    covariance = np.diag([0.0, 0.09, 0.0, 0.16])
    covariance[1, 3] = covariance[3, 1] = 0.1
    tied = dataclasses.replace(table, covariance=covariance, residual=0.0)
    other = reference.with_swaps({"b": "relu"})
    assert predicted_difference(tied, one, other).standard_error == pytest.approx(np.sqrt(0.09 + 0.16 - 0.2))


# What cannot be compared


def test_another_model(folders):
    change_identity(folders[1], model="yolov8n", **{"weights and structure": "beef"})
    with pytest.raises(InputError, match="Expected two runs of one model. Received: 'yolov5n' and 'yolov8n'"):
        compare_runs(*map(Run.load, folders))


def test_another_model_at_another_image_size(folders):
    change_identity(folders[1], model="yolov8n", input_shape=[224, 224, 3], **{"weights and structure": "beef"})
    with pytest.raises(InputError, match="Expected two runs of one model. Received: 'yolov5n' and 'yolov8n'"):
        compare_runs(*map(Run.load, folders))


def test_the_same_name_with_other_weights(folders):
    change_identity(folders[1], **{"weights and structure": "beef"})
    with pytest.raises(InputError, match="Received: two of 'yolov5n' that differ in structure or weights"):
        compare_runs(*map(Run.load, folders))


def test_another_image_size_is_said(folders):
    """The paper measures its NPU at 224 px and its CPUs at 640 px."""
    change_identity(folders[1], input_shape=[224, 224, 3], **{"weights and structure": "beef"})
    text = compare_runs(*map(Run.load, folders))
    assert "different image sizes, [320, 320, 3] and [224, 224, 3]: compare changes, not values" in text


def test_other_sites(make_run):
    a, b = (Run.load(make_run(name, sites=sites)) for name, sites in (("a", 6), ("b", 7)))
    for first, second in ((a, b), (b, a)):
        with pytest.raises(InputError, match="Expected two runs with the same sites, .*, without 'model.6.cv1.act'"):
            compare_runs(first, second)


def test_another_reference(folders):
    for path in (*folders[1].glob("tables/*.json"), folders[1] / "proposals.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        reference = content["reference"]["assignment"] if path.name == "proposals.json" else content["reference"]
        reference["model.3.cv1.act"] = "relu"
        path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="with the same reference. Received: .*'silu' at 'model.3.cv1.act'.*'relu'"):
        compare_runs(*map(Run.load, folders))
