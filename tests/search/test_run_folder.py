"""The folder of a run: whose it is, and what cannot be one."""

import json
import os
import stat

import numpy as np
import pytest

from keras_actnas.core import Assignment, Estimate, InputError, Measurement, MetricTable
from keras_actnas.search import RunFolder

IDENTITY = {"model": "small", "weights": "0123", "input_shape": (32, 32, 3), "num_threads": 1}
REFERENCE = Assignment.uniform(["a", "b"], "silu")


def test_a_new_folder_is_made_with_its_parents(tmp_path):
    folder = RunFolder(tmp_path / "runs" / "small", IDENTITY)
    content = json.loads((tmp_path / "runs" / "small" / "run.json").read_text(encoding="utf-8"))
    assert content == {"format": 1, "identity": {**IDENTITY, "input_shape": [32, 32, 3]}}
    assert len(folder.journal) == 0
    assert folder.file("tables", "latency.csv") == tmp_path / "runs" / "small" / "tables" / "latency.csv"


def test_the_same_run_finds_its_measurements(tmp_path):
    first = RunFolder(str(tmp_path), IDENTITY)
    first.journal.append(Measurement("nwot", "", REFERENCE, (1.0,), (1.0,)))
    first.journal.close()
    again = RunFolder(tmp_path, dict(reversed(IDENTITY.items())))
    assert [m.assignment for m in again.journal] == [REFERENCE]


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"weights": "4567"}, "weights='0123', not '4567'"),
        ({"input_shape": (64, 64, 3)}, r"input_shape=\[32, 32, 3\], not \[64, 64, 3\]"),
        ({"more": 1}, "more=None, not 1"),
    ],
)
def test_another_run_is_refused(tmp_path, change, shown):
    RunFolder(tmp_path, IDENTITY)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(InputError, match=f"belongs to a run with {shown}. Choose another --out"):
        RunFolder(tmp_path, {**IDENTITY, **change})
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(InputError, match="which holds other files. Choose another --out"):
        RunFolder(tmp_path, IDENTITY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_hidden_files_do_not_matter(tmp_path):
    """A run that was killed while it wrote `run.json` leaves a hidden temporary file, and can start again."""
    (tmp_path / ".run.json.x1y2").write_text("{", encoding="utf-8")
    assert RunFolder(tmp_path, IDENTITY).file("run.json").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1, "identity": 3}', '{"format": 1}', "\xff"])
def test_a_broken_run_json(tmp_path, content):
    (tmp_path / "run.json").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match="Expected the run.json of a run"):
        RunFolder(tmp_path, IDENTITY)


def test_another_format(tmp_path):
    RunFolder(tmp_path, IDENTITY)
    path = tmp_path / "run.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"format": 1', '"format": 2'), encoding="utf-8")
    with pytest.raises(InputError, match="format 2, not 1"):
        RunFolder(tmp_path, IDENTITY)


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("keep", encoding="utf-8")
    for path in (tmp_path / "file", tmp_path / "file" / "sub"):
        with pytest.raises(InputError, match="Expected a folder that can be written. Received: .*file"):
            RunFolder(path, IDENTITY)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "keep"


def test_a_read_only_folder_of_an_earlier_run(tmp_path, monkeypatch):
    RunFolder(tmp_path, IDENTITY)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(InputError, match="which is read-only"):
        RunFolder(tmp_path, IDENTITY)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permissions(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(InputError, match="can be written"):
        RunFolder(tmp_path, IDENTITY)
    tmp_path.chmod(stat.S_IRWXU)


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "iterdir", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        RunFolder(tmp_path, IDENTITY)


def table(metric):
    delta = np.array([[0.0, -1.0], [0.0, np.nan]])
    return MetricTable(metric, "", REFERENCE, ("silu", "relu"), Estimate(5.0, 0.1), delta, delta * 0 + 0.5)


def test_tables_come_back(tmp_path):
    folder = RunFolder(tmp_path, IDENTITY)
    assert folder.load_tables() == {}
    for metric in ("latency", "nwot"):
        folder.save_table(table(metric))
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == [
        "latency.csv", "latency.json", "nwot.csv", "nwot.json",
    ]  # fmt: skip
    tables = RunFolder(tmp_path, IDENTITY).load_tables()
    assert list(tables) == ["latency", "nwot"]
    np.testing.assert_array_equal(tables["nwot"].delta, table("nwot").delta)


def test_a_file_in_the_place_of_the_tables(tmp_path):
    folder = RunFolder(tmp_path, IDENTITY)
    (tmp_path / "tables").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="Expected a place for tables"):
        folder.save_table(table("nwot"))
