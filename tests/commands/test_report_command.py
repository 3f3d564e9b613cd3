"""`keras-actnas report`: of a real search's folder, and of what is none."""

import shlex
import shutil

import pytest

from keras_actnas import cli
from keras_actnas.core import Assignment, load_proposals


@pytest.fixture
def copied(run_folder, tmp_path):
    return shutil.copytree(run_folder, tmp_path / "copied")


def test_a_search_writes_the_report(run_folder):
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    for proposal in load_proposals(run_folder / "proposals.json"):
        assert f'<th scope="row">{proposal.name}</th>' in page
    assert "tiny.keras on host" in page
    assert "once more after it had come out best" in page
    assert "time, bench" in page and "time, verify" in page


def test_the_command_writes_the_same(copied, capsys):
    before = (copied / "report.html").read_text(encoding="utf-8")
    (copied / "report.html").unlink()
    assert cli.main(["report", str(copied)]) == 0
    assert capsys.readouterr().out == f"{copied / 'report.html'}: open it in a browser.\n"
    after = (copied / "report.html").read_text(encoding="utf-8")
    assert len(after.splitlines()) == len(before.splitlines())


def test_another_file(copied, tmp_path, capsys):
    out = tmp_path / "team.html"
    assert cli.main(["report", str(copied), f"--out={out}"]) == 0
    assert out.exists()
    assert cli.main(["report", str(copied), f"--out={out}"]) == 2
    assert "Expected --out to be a new file" in capsys.readouterr().err
    assert cli.main(["report", str(copied), f"--out={out}", "--overwrite"]) == 0


def test_its_commands_work_as_they_stand(copied, tmp_path, monkeypatch):
    """Those that apply an assignment; run from where the report was made."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", "copied"]) == 0
    page = (copied / "report.html").read_text(encoding="utf-8")
    commands = [
        line for line in page.replace("<code>", "\n").replace("</code>", "\n").splitlines() if " apply --" in line
    ]
    assert len(commands) == 2
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "keras-actnas"
        assert cli.main(arguments) == 0
    second = load_proposals(copied / "proposals.json")[1].assignment
    from keras_actnas.export import TFLiteNetwork

    assert TFLiteNetwork(tmp_path / "ilp-2.tflite").reference == second
    assert (tmp_path / "ilp-2.keras").exists()


def test_a_search_by_tables_alone(run_folder, tiny, fast, tmp_path):
    """Nothing was measured; the report says so, and has the tables."""
    out = tmp_path / "given"
    device = f"--device=tables:{run_folder / 'tables' / 'latency.csv'}"
    assert cli.main(["search", f"--model={tiny}", f"--out={out}", device, *fast]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Predicted by the table; tables:latency.csv has not measured this network." in page
    assert "predicted only" in page and "Measured on" not in page
    assert "latency table: change against the reference, 4 sites" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Expected one run folder. Received: 0"),
        (("a", "b"), "Expected one run folder. Received: 2"),
        (("nowhere",), "Expected the folder of a run. Received: nowhere, which has no run.json"),
    ],
)
def test_what_is_no_run(refuses, arguments, message):
    assert message in refuses("report", *arguments)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("proposals.json", None, "Expected a run with proposals"),
        ("tables/latency.json", b"{", "Expected a metric table in JSON"),
        ("journal.jsonl", b"{}\n", "Expected a measurement a line"),
    ],
)
def test_a_damaged_run(refuses, copied, name, content, message):
    before = (copied / "report.html").read_bytes()
    if content is None:
        (copied / name).unlink()
    else:
        (copied / name).write_bytes(content)
    assert message in refuses("report", copied)
    assert (copied / "report.html").read_bytes() == before


def test_the_best_is_the_one_of_best_json(run_folder):
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    for site, name in Assignment.load(run_folder / "best.json").items():
        assert f"<title>ilp-1, {site}: {name}</title>" in page
