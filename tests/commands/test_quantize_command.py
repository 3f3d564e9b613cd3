"""`keras-actnas quantize`, and `apply` in another precision."""

import csv

import numpy as np
import pytest

from keras_actnas import cli
from keras_actnas.export import TFLiteNetwork, summarize_graph
from keras_actnas.tflite_bench import TFLiteRunner


def test_a_proposal_in_int8_with_its_errors(tiny, tmp_path, photos, capsys):
    (tmp_path / "mixed.json").write_text('{"stem_act": "hard_swish", "argument": "relu6"}', encoding="utf-8")
    out, report = tmp_path / "int8.tflite", tmp_path / "sites.csv"
    flags = (f"--model={tiny}", f"--assignment={tmp_path / 'mixed.json'}", f"--images={photos}", f"--out={out}")
    assert cli.main(["quantize", *flags, f"--report={report}", "--calibration_images=4", "--error_images=3"]) == 0
    printed = capsys.readouterr().out
    assert "int8 error on 3 images" in printed and "2 sites changed" in printed and f"every site: {report}" in printed
    assert dict(TFLiteNetwork(out).reference) == {
        "stem_act": "hard_swish", "argument": "relu6", "shared_act": "relu6", "last": "silu"
    }  # fmt: skip
    with report.open(newline="") as file:
        rows = {row["tensor"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["stem_act", "argument", "shared_act", "shared_act:1", "last", "output 0"]
    assert all(float(row["sqnr_db"]) > 10 for row in rows.values())
    TFLiteRunner(out).warm_up(1)


def test_the_models_own_activations(tiny, tmp_path, photos, capsys):
    out = tmp_path / "int8.tflite"
    assert cli.main(["quantize", f"--model={tiny}", f"--images={photos}", f"--out={out}", "--error_images=1"]) == 0
    assert "sites changed" not in capsys.readouterr().out


def test_apply_in_int8(tiny, tmp_path, photos):
    out = tmp_path / "int8.tflite"
    flags = (f"--model={tiny}", "--assignment=relu", f"--images={photos}", f"--out={out}", "--calibration_images=2")
    assert cli.main(["apply", *flags, "--precision=int8"]) == 0
    summary = summarize_graph(out)
    assert "LOGISTIC" not in summary["operators"] and not summary["float_islands"]
    assert TFLiteRunner(out)._interpreter.get_input_details()[0]["dtype"] == np.int8


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("quantize", "--out=net.keras"), "Expected --out=FILE.tflite. Received: 'net.keras'"),
        (("quantize", "--out=net.tflite", "--report=net.txt"), "Expected --report=FILE.csv. Received: 'net.txt'"),
        (("quantize", "--out=net.tflite", "--images=nowhere"), "nowhere, which is no folder"),
        (("quantize", "--out=net.tflite", "--assignment=nothing"), "Expected the name of an activation"),
        (("apply", "--assignment=relu", "--out=net.keras", "--precision=int8"), "Expected --precision with a Keras"),
    ],
)
def test_refuses(refuses, tiny, tmp_path, flags, message):
    assert message in refuses(*flags[:1], f"--model={tiny}", *flags[1:])
    assert not (tmp_path / "net.tflite").exists()


def test_report_is_not_overwritten(refuses, tiny, tmp_path):
    (tmp_path / "old.csv").touch()
    assert "Expected --report to be a new file" in refuses(
        "quantize", f"--model={tiny}", "--out=net.tflite", "--report=old.csv"
    )
