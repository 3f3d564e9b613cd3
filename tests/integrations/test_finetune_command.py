"""`keras-actnas finetune`: from a run and a data set to a checkpoint, and what it refuses."""

import json
import re
import subprocess
import sys

import pytest
from ultralytics import YOLO

from keras_actnas import cli
from keras_actnas.core.assignment import Assignment
from keras_actnas.core.proposal import Proposal, save_proposals
from keras_actnas.integrations import ActNASTrainer, current_torch_assignment
from keras_actnas.search.run_folder import RunFolder

FAST = ("--batch=4", "workers=0", "plots=False", "amp=False")


@pytest.fixture(scope="module")
def reference(tiny_yaml):
    return current_torch_assignment(YOLO(tiny_yaml))


@pytest.fixture
def run_folder(reference, tmp_path):
    """What a search for a YOLOv5n leaves behind, as far as it matters here."""
    folder = RunFolder(tmp_path / "run", {"model": "yolov5n", "input_shape": [64, 64, 3]})
    best = reference.with_swaps({"model.0.act": "relu", "model.1.act": "hard_swish"})
    other = Assignment.uniform(reference, "relu6")
    proposals = [Proposal("ilp-1", best), Proposal("ilp-2", other)]
    save_proposals(folder.file("proposals.json"), proposals, {"reference": Proposal("reference", reference).to_json()})
    best.save(folder.file("best.json"))
    return folder.path


@pytest.fixture
def refused(capsys):
    """Runs a command that must fail with status 2 and one line on stderr; returns that line."""

    def run(*arguments):
        capsys.readouterr()
        assert cli.main(["finetune", *map(str, arguments)]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    return run


def finetune(*arguments):
    return cli.main(["finetune", *map(str, arguments)])


def held(path):
    return current_torch_assignment(YOLO(path))


def test_progressive(run_folder, data, weights, capsys):
    assert finetune(run_folder, f"--data={data}", f"--weights={weights}", "--epochs=2", *FAST, "mosaic=0.5") == 0
    lines = capsys.readouterr().out.splitlines()[-6:]
    rows = [re.split(r"\s{2,}", line) for line in lines[:4]]
    assert [row[0] for row in rows] == [
        "mAP on the validation images", "as given", "swapped, not trained", "fine-tuned"
    ]  # fmt: skip
    assert all(re.fullmatch(r"[01]\.\d{4}", value) for row in rows[1:] for value in row[1:][0].split())
    best = run_folder / "finetune/weights/best.pt"
    assert lines[4:] == ["69 of 69 sites hold the assignment: silu x 67, hard_swish x 1, relu x 1", str(best)]
    assert held(best) == Assignment.load(run_folder / "best.json")
    network = YOLO(best)
    assert network.ckpt["train_args"]["mosaic"] == 0.5
    assert network.ckpt["train_args"]["imgsz"] == 64  # The run's.
    assert network.model.actnas["transition"] == [0, 0.75]


def test_from_scratch(run_folder, data, tiny_yaml, tmp_path):
    out = tmp_path / "tuned"
    flags = (f"--data={data}", f"--weights={tiny_yaml}", "--assignment=proposals.json#ilp-2", "--epochs=1")
    assert finetune(run_folder, *flags, f"--out={out}", *FAST) == 0
    assert set(held(out / "weights/best.pt").values()) == {"relu6"}
    note = json.loads((out / "finetune.json").read_text())
    assert list(note["scores"]) == ["fine-tuned"]
    assert YOLO(out / "weights/best.pt").model.actnas["transition"] is None


@pytest.mark.parametrize("recipe", ["progressive", "scratch"])
def test_weights_are_begun_with_or_not(run_folder, data, weights, recipe):
    flags = (f"--data={data}", f"--weights={weights}", "--epochs=1", f"--recipe={recipe}")
    assert finetune(run_folder, *flags, *FAST) == 0
    given, tuned = (
        YOLO(path).model.model[0].conv.weight for path in (weights, run_folder / "finetune/weights/last.pt")
    )
    assert ((given - tuned).abs().mean() < 0.01) == (recipe == "progressive")
    assert held(run_folder / "finetune/weights/best.pt") == Assignment.load(run_folder / "best.json")


def test_without_a_run(data, weights, tmp_path):
    """Any network and assignment; and weights of other classes, if that is meant."""
    out = tmp_path / "tuned"
    given = YOLO("yolov5n.yaml")
    given.save(tmp_path / "eighty.pt")
    flags = ("--assignment=relu", f"--data={data}", "--epochs=1", "--image_size=64", f"--out={out}", *FAST)
    assert finetune(f"--weights={tmp_path / 'eighty.pt'}", "--new_classes", *flags) == 0
    assert set(held(out / "weights/best.pt").values()) == {"relu"}


def test_resume(run_folder, data, weights, refused, monkeypatch):
    """A training that was killed goes on, and knows at its end what was measured before."""

    class Killed(BaseException):
        pass

    def kill(self):
        if self.epoch == 1:
            raise Killed
        return save(self)

    save = ActNASTrainer.save_model
    flags = (run_folder, f"--data={data}", f"--weights={weights}", "--epochs=3", *FAST)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ActNASTrainer, "save_model", kill)
        finetune(*flags)
    assert "which exists; give --resume, or another --out" in refused(*flags)
    assert finetune(run_folder, "--resume", "workers=0") == 0
    note = json.loads((run_folder / "finetune/finetune.json").read_text())
    assert list(note["scores"]) == ["as given", "swapped, not trained", "fine-tuned"]
    assert held(run_folder / "finetune/weights/last.pt") == Assignment.load(run_folder / "best.json")
    assert "where it has ended" in refused(run_folder, "--resume")


def test_refusals_before_anything_is_trained(run_folder, data, weights, tiny_yaml, refused, tmp_path):
    given = (f"--data={data}", f"--weights={weights}")
    assert "Expected --data=data.yaml" in refused(run_folder)
    assert "Expected a run folder, or --out" in refused(*given)
    assert "Expected a run folder, or --assignment" in refused(*given, "--out=tuned")
    assert "nowhere.yaml" in refused(run_folder, given[1], "--data=nowhere.yaml")
    assert "Expected the run.json of a run" in refused(tmp_path / "other", *given)
    assert "one run folder" in refused(run_folder, "other", *given)
    assert "Received: 'ilp-9'" in refused(run_folder, *given, "--assignment=proposals.json#ilp-9")
    assert "weights of yolov5n, which the run is of. Received: weights of yolov5s" in refused(
        run_folder, f"--data={data}", "--weights=yolov5s.yaml"
    )
    assert "Expected --epochs=3. Received: epochs=3" in refused(run_folder, *given, "epochs=3")
    assert "Received: lr9" in refused(run_folder, *given, "lr9=1")
    assert "KEY=VALUE. Received: lr0=[" in refused(run_folder, *given, "lr0=[")
    assert "start and end of the transition" in refused(run_folder, *given, "--transition_start=0.9")
    assert "Expected the folder of a fine-tuning" in refused(run_folder, "--resume")
    YOLO("yolov5n.yaml").save(tmp_path / "eighty.pt")
    assert "--new_classes" in refused(run_folder, f"--data={data}", f"--weights={tmp_path / 'eighty.pt'}")
    assert not (run_folder / "finetune").exists()


def test_an_interruption_says_how_to_go_on(run_folder, data, weights, monkeypatch, capsys):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(ActNASTrainer, "train", interrupt)
    assert finetune(run_folder, f"--data={data}", f"--weights={weights}", *FAST) == 130
    assert capsys.readouterr().err.endswith("Interrupted. The last whole epoch is kept: --resume continues.\n")


@pytest.mark.parametrize("missing", ["yaml", "torch"])
def test_what_is_not_installed_is_named_with_the_line_that_installs_it(missing, tmp_path):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from keras_actnas import cli\n"
        "flags = ['--weights=x.yaml', '--assignment=relu', '--data=d.yaml']\n"
        f"sys.exit(cli.main(['finetune', *flags, '--out={tmp_path}']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'pip install "keras-actnas[ultralytics]"' in done.stderr
    assert "Traceback" not in done.stderr
