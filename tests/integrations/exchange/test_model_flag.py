"""`--model=best.pt`: an Ultralytics checkpoint in every command."""

import keras
import pytest
import torch
from ultralytics import YOLO

from keras_actnas import cli
from keras_actnas.core.run_files import read_identity
from keras_actnas.export import TFLiteNetwork

FAST = ("--networks=12", "--runs=1", "--seeds=1", "--batch_size=4", "--top_k=1", "--constraint=nwot>=reference-50")


@pytest.fixture
def hostile(tiny, tmp_path):
    """A checkpoint that leaves a file `ran` where it is loaded as pickles are."""

    class Touch:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w').close()",)

    torch.save({"model": tiny().model, "extra": Touch()}, tmp_path / "hostile.pt")
    return tmp_path / "hostile.pt"


def run(*arguments):
    assert cli.main([str(argument) for argument in arguments]) == 0


@pytest.fixture
def refuses(capsys, monkeypatch, tmp_path):
    """Runs a command that must fail with one line; returns that line."""
    monkeypatch.chdir(tmp_path)

    def fail(*arguments):
        capsys.readouterr()
        assert cli.main([str(argument) for argument in arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return fail


def test_apply(weights, tmp_path):
    run("apply", f"--model={weights}", "--image_size=32x64", "--assignment=relu", f"--out={tmp_path / 'new.keras'}")
    model = keras.models.load_model(tmp_path / "new.keras", compile=False)
    assert model.inputs[0].shape == (None, 32, 64, 3)
    assert [output.shape[-1] for output in model.outputs] == [64 + 2] * 3


@pytest.mark.slow
def test_convert_a_description(tiny_yaml, tmp_path):
    out = tmp_path / "net.tflite"
    run("convert", f"--model={tiny_yaml}", "--image_size=32", "--num_classes=3", f"--out={out}")
    assert set(TFLiteNetwork(out).reference.values()) == {"silu"}


@pytest.mark.slow
def test_search_calls_the_run_by_the_file(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("search", f"--model={weights}", "--image_size=64", "--score_image_size=32", *FAST)
    folder = tmp_path / "runs/given-64"
    assert read_identity(folder)["model"] == "given.pt"
    assert (folder / "best.json").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--num_classes=80",), "Expected 80 classes (--num_classes). Received: a network for 2"),
        (("--image_size=100",), "multiples of 32"),
    ],
)
def test_flags_that_do_not_fit(refuses, weights, flags, message):
    assert message in refuses("convert", f"--model={weights}", "--out=net.tflite", *flags)


def test_checkpoints_that_cannot_be(refuses, tmp_path):
    assert "absent.pt, which does not exist" in refuses("convert", "--model=absent.pt", "--out=net.tflite")
    YOLO("yolov8n-seg.yaml").save(tmp_path / "seg.pt")
    assert "Received: one for segmentation" in refuses("convert", "--model=seg.pt", "--out=net.tflite")


def test_a_checkpoint_that_would_run_code(refuses, hostile, tmp_path):
    flags = ("apply", f"--model={hostile}", "--image_size=32", "--assignment=relu", "--out=new.keras")
    message = refuses(*flags)
    assert "refers to builtins.exec" in message
    assert "give --trust_checkpoint" in message
    assert not (tmp_path / "ran").exists()
    run(*flags, "--trust_checkpoint")
    assert (tmp_path / "ran").exists()
