"""`keras-actnas compare`: two runs of one model on different devices, and what cannot be compared."""

import json
import shutil

import pytest

from keras_actnas import cli


@pytest.fixture
def other(run_folder, tmp_path):
    """The same run as if of another device."""
    folder = shutil.copytree(run_folder, tmp_path / "other")
    path = folder / "proposals.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "device": "board"}), encoding="utf-8")
    return folder


def test_it_prints_and_writes(run_folder, other, tmp_path, capsys):
    out = tmp_path / "compared.txt"
    assert cli.main(["compare", str(run_folder), str(other), f"--out={out}"]) == 0
    text = capsys.readouterr().out
    assert out.read_text(encoding="utf-8") == text
    assert f"A: host ({run_folder})" in text and f"B: board ({other})" in text
    assert "On board, as its tables predict" in text and "On host, as its tables predict" in text
    assert "all relu" in text
    assert cli.main(["compare", str(run_folder), str(other), f"--out={out}"]) == 2
    assert "Expected --out to be a new file" in capsys.readouterr().err


def test_another_model(refuses, run_folder, other):
    path = other / "run.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["identity"].update({"model": "large.keras", "weights and structure": "beef"})
    path.write_text(json.dumps(content), encoding="utf-8")
    line = refuses("compare", run_folder, other)
    assert "Expected two runs of one model. Received: 'tiny.keras' and 'large.keras'" in line


def test_no_run_or_none_that_has_come_to_an_end(refuses, run_folder, other):
    assert "Expected two run folders. Received: 1" in refuses("compare", run_folder)
    assert "which has no run.json" in refuses("compare", run_folder, "nowhere")
    (other / "proposals.json").unlink()
    assert "Expected a run with proposals" in refuses("compare", other, run_folder)
