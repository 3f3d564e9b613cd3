"""The example that detects items of Fashion-MNIST, from data set to int8, at a tiny size."""

import csv
import os
import sys
from pathlib import Path

import pytest
from PIL import Image
from ultralytics import YOLO

from keras_actnas.core import Assignment
from keras_actnas.integrations import current_torch_assignment

EXAMPLE = Path(__file__).parents[2] / "examples" / "detect_items"
DATA = Path("/usr/share/datasets/fashion-mnist")
NEEDS_DATA = pytest.mark.skipif(not DATA.is_dir(), reason="needs the Debian package dataset-fashion-mnist")
SMALL = ("--image_size=64", "--train=32", "--val=6", "--epochs=1", "--tune_epochs=1", "--seeds=1", "--processes=1")
UNTRAINED = (
    "--proxy=nwot",
    "--constraint=nwot>=reference-99",
)  # So little training gives outputs that sensitivity cannot be taken of.


@pytest.fixture(scope="module")
def story():
    """The script."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE.parent))
        patch.syspath_prepend(str(EXAMPLE))
        for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_CPP_MIN_LOG_LEVEL", "YOLO_VERBOSE"):
            patch.setenv(name, os.environ.get(name, "1"))  # Which the script sets for its processes.
        import detect_items

        yield detect_items
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(EXAMPLE.parent)):
            del sys.modules[name]


def steps_of(function, names):
    return {name: (function, ((("name", name),),)) for name in names}


@pytest.mark.parametrize("processes", [1, 2])
def test_steps_are_done_in_processes(story, processes):
    done = dict(story.run_steps(steps_of(dict, "abc"), processes))
    assert done == {name: {"name": name} for name in "abc"}
    with pytest.raises(TypeError, match="unhashable"):
        list(story.run_steps({**steps_of(dict, "ab"), "c": (dict, ([([], 1)],))}, processes))


@NEEDS_DATA
def test_results_of_other_settings_are_refused(story, tmp_path):
    (tmp_path / "results.json").write_text('{"settings": {"epochs": 3}, "runs": {}}')
    with pytest.raises(SystemExit, match="error: Expected the settings of the results .* Pass another --out"):
        story.main([*SMALL, f"--data={DATA}", f"--out={tmp_path}"])
    with pytest.raises(SystemExit, match="error: Expected --data to be a folder"):
        story.main([*SMALL, f"--data={tmp_path / 'no'}", f"--out={tmp_path / 'new'}"])
    with pytest.raises(SystemExit, match="error: Expected --device to be one of"):
        story.main([*SMALL, f"--data={DATA}", f"--out={tmp_path / 'new'}", "--device=hots"])
    with pytest.raises(SystemExit, match="error: Expected a metric that a search measures. Received: 'nwot'"):
        story.main([*SMALL, f"--data={DATA}", f"--out={tmp_path / 'new'}", "--constraint=nwot>=reference"])
    with pytest.raises(SystemExit, match="error: Expected proxy out of"):
        story.main([*SMALL, f"--data={DATA}", f"--out={tmp_path / 'new'}", "--proxy=magic"])
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
@NEEDS_DATA
def test_the_story(story, tmp_path, capsys):
    left_by_a_kill = tmp_path / "out" / "seed0" / "base" / "weights" / "last.pt"
    left_by_a_kill.parent.mkdir(parents=True)
    left_by_a_kill.write_bytes(b"half of a checkpoint")
    arguments = [*SMALL, *UNTRAINED, f"--data={DATA}", f"--out={tmp_path / 'out'}"]
    story.main(arguments)
    first = capsys.readouterr().out
    assert first.count("| proposal, fine-tuned") == 1
    assert "vela:ethos-u55-128, estimated" in first
    held = {
        name: current_torch_assignment(YOLO(tmp_path / "out" / "seed0" / name / "weights" / "last.pt"))
        for name in ("base", "silu", "relu", "proposal")
    }
    assert set(held["base"].values()) == set(held["silu"].values()) == {"silu"}
    assert set(held["relu"].values()) == {"relu"}
    assert held["proposal"] == Assignment.load(tmp_path / "out" / "search" / "best.json")
    rows = list(csv.DictReader((tmp_path / "out" / "table.csv").read_text().splitlines()))
    assert len(rows) == 10 and {row["precision"] for row in rows} == {"float32", "int8"}
    with Image.open(tmp_path / "out" / "detections.png") as picture:
        assert picture.width == 5 * 192
    assert (tmp_path / "out" / "detections.png").stat().st_size < 400_000

    story.main(arguments)
    again = capsys.readouterr().out
    assert "train/0/base" in first and "train/0/base" not in again and "deploy" not in again
    assert [line for line in first.splitlines() if line.startswith("|")] == [
        line for line in again.splitlines() if line.startswith("|")
    ]
