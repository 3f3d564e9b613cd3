"""Checkpoints are read without running what they bring along, and say what keeps them from being read."""

import importlib
import os
import pathlib
import pickle
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest
import torch
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from keras_actnas.core import InputError
from keras_actnas.integrations import ActNASTrainer, from_ultralytics
from keras_actnas.integrations.exchange.checkpoint import Replacement, read_checkpoint

SMALL = (64, 64, 3)


class Call:
    """Pickles as a call: what a hostile checkpoint consists of."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def trace(tmp_path):
    """A file that exists once code of a checkpoint has run."""
    return tmp_path / "ran"


def save(path, **content):
    torch.save(content, path)
    return path


@pytest.mark.parametrize("place", ["ema", "optimizer"])
def test_a_checkpoint_that_runs_code_is_refused(tiny, tmp_path, trace, place):
    path = save(tmp_path / "best.pt", model=tiny().model, **{place: Call(exec, f"open({str(trace)!r}, 'w').close()")})
    with pytest.raises(
        InputError, match=r"refers to builtins\.exec and could run code.*not.loaded.*--trust_checkpoint"
    ):
        from_ultralytics(path, SMALL)
    assert not trace.exists()
    # Such a file does what it says where it is loaded, and trusting one is a way to load it.
    assert from_ultralytics(path, SMALL, trust=True).name == "best" if place == "optimizer" else True
    assert trace.exists() == (place == "optimizer")


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "numpy.load", "shutil.rmtree"])
def test_functions_have_no_place_in_a_checkpoint(tiny, tmp_path, name):
    module, _, attribute = name.rpartition(".")
    function = getattr(importlib.import_module(module), attribute)
    path = save(tmp_path / "best.pt", model=tiny().model, extra=Call(function, "nothing"))
    with pytest.raises(InputError, match=rf"refers to (posix|{module}|{function.__module__})\.{attribute} and could"):
        read_checkpoint(path)


def test_classes_of_ultralytics_are_not_made(tiny, tmp_path, trace):
    """Called with a description, a network evaluates the activation in it."""
    activation = f"__import__('pathlib').Path({str(trace)!r}).touch() or nn.SiLU()"
    description = {**tiny().model.yaml, "activation": activation}
    path = save(tmp_path / "best.pt", model=Call(DetectionModel, description, 3, None, False))
    with pytest.raises(InputError, match="Expected a checkpoint of Ultralytics, with a network in it"):
        from_ultralytics(path, SMALL)
    assert not trace.exists()
    DetectionModel(description, verbose=False)
    assert trace.exists()


def test_attributes_are_not_looked_up(tiny, tmp_path):
    """`getattr` has its place in a fused network; here it would reach the functions behind a module."""
    reached = Call(getattr, torch.nn.Conv2d, "__init__")
    path = save(tmp_path / "best.pt", model=tiny().model, extra=reached)
    content = torch.load(path, weights_only=False)["extra"]
    assert isinstance(content, types.FunctionType)
    assert isinstance(read_checkpoint(path), Replacement)


def test_what_is_read_is_a_skeleton(tiny, tmp_path):
    network = tiny().model
    read = read_checkpoint(save(tmp_path / "best.pt", model=network))
    assert [path for path, _ in read.named_modules()] == [path for path, _ in network.named_modules()]
    kinds = {type(module).__name__ for module in network.modules()}
    assert {type(module).__name__ for module in read.modules()} == kinds
    assert {type(module) for module in network.modules()}.isdisjoint({type(read), type(read.model[0])})
    assert all(torch.equal(tensor, read.state_dict()[name]) for name, tensor in network.state_dict().items())
    with pytest.raises(NotImplementedError):
        read(torch.zeros(1, 3, 64, 64))


def test_it_needs_no_ultralytics(tiny, tmp_path):
    path = save(tmp_path / "best.pt", model=tiny().model)
    code = (
        "import sys; sys.modules['ultralytics'] = None\n"
        "from keras_actnas.integrations import from_ultralytics\n"
        f"print(from_ultralytics({str(path)!r}, (64, 64, 3)).count_params())"
    )
    environment = {**os.environ, "KERAS_BACKEND": "torch"}  # Which starts faster than TensorFlow.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout) == from_ultralytics(path, SMALL).count_params()


@pytest.mark.parametrize("how", ["fused", "half", "saved by YOLO", "a whole YOLO", "metrics and paths"])
def test_ways_to_save(tiny, tmp_path, difference, how):
    yolo, path = tiny(), tmp_path / "best.pt"
    images = np.random.default_rng(0).random((1, *SMALL), "float32")
    if how == "fused":
        save(path, model=yolo.model.fuse(verbose=False))
    elif how == "half":
        save(path, model=yolo.model.half(), ema=None)
        yolo.model.float()
    elif how == "saved by YOLO":
        yolo.save(path)
        yolo = YOLO(path)
    elif how == "a whole YOLO":
        torch.save(yolo, path)
    else:
        save(path, model=yolo.model, train_metrics={"fitness": np.float64(0.5)}, save_dir=pathlib.Path("runs"))
    # A whole YOLO brings along the callbacks of its process.
    model = from_ultralytics(path, SMALL, trust=how == "a whole YOLO")
    assert difference(yolo.model.eval(), model, images)[0] < 1e-3


def test_the_averaged_weights_come_first(tiny, make_network, tiny_yaml, tmp_path):
    path = save(tmp_path / "last.pt", model=make_network(tiny_yaml, seed=7).model, ema=tiny().model)
    kernel = from_ultralytics(path, SMALL).get_layer("model-0-conv").kernel
    expected = tiny().model.model[0].conv.weight.detach().numpy().transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, expected)


def test_a_checkpoint_of_finetuning(tiny_yaml, data, tmp_path, train_settings):
    yolo = YOLO(tiny_yaml)
    yolo.train(
        trainer=ActNASTrainer, assignment={"model.0.act": "relu", "model.3.act": "identity"}, data=str(data), epochs=1,
        project=str(tmp_path), name="run", **train_settings,
    )  # fmt: skip
    model = from_ultralytics(tmp_path / "run/weights/best.pt", SMALL)
    held = {site: model.get_layer(f"model-{site}-act").activation.__name__ for site in (0, 1, 3)}
    assert held == {0: "relu", 1: "silu", 3: "linear"}


@pytest.mark.parametrize("task", ["seg", "pose"])
def test_checkpoints_for_other_tasks(tmp_path, task):
    path = tmp_path / "best.pt"
    YOLO(f"yolov8n-{task}.yaml").save(path)
    name = {"seg": "segmentation", "pose": "pose estimation"}[task]
    with pytest.raises(InputError, match=f"Expected a network for detection. Received: one for {name}"):
        from_ultralytics(path, SMALL)


def test_files_that_are_no_checkpoint(tiny, tmp_path):
    weights = save(tmp_path / "weights.pt", **tiny().model.state_dict())
    with pytest.raises(InputError, match=r"which holds a dictionary of model\.0\.conv\.weight, "):
        read_checkpoint(weights)
    (tmp_path / "text.pt").write_text("no archive")
    with pytest.raises(InputError, match=r"Expected a checkpoint that can be read.*text\.pt"):
        read_checkpoint(tmp_path / "text.pt")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps(Call(print, "ran")))
    with pytest.raises(InputError, match="Expected a checkpoint that can be read"):
        read_checkpoint(tmp_path / "pickle.pt")
    whole = save(tmp_path / "best.pt", model=tiny().model)
    (tmp_path / "cut.pt").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cut\.pt"):
        read_checkpoint(tmp_path / "cut.pt")
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("other.txt", "nothing")
    with pytest.raises(InputError, match=r"zip\.pt"):
        read_checkpoint(tmp_path / "zip.pt")
