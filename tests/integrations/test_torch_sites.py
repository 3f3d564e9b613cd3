"""Assignments put into Ultralytics networks."""

import copy
import pickle

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.modules.conv import Conv

from keras_actnas import models, surgery
from keras_actnas.core import Assignment, InputError
from keras_actnas.integrations import apply_assignment, current_torch_assignment

MIXED = ("relu", "hard_swish", "silu", "prelu", "identity", "leaky_relu(0.3)")


def mixed(model):
    sites = current_torch_assignment(model)
    return Assignment((site, MIXED[number % len(MIXED)]) for number, site in enumerate(sites))


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("yolov5n", "yolov8n")), "yolo11n"]
)
def test_sites_are_those_of_the_keras_network(name):
    keras_model = models.YOLO(name, num_classes=3, input_shape=(64, 64, 3))
    ours = current_torch_assignment(YOLO(f"{name}.yaml"))
    theirs = surgery.current_assignment(keras_model)
    assert dict(ours) == dict(theirs)


def test_every_site_gets_a_fresh_module(tiny_yaml):
    yolo = YOLO(tiny_yaml)
    wanted = mixed(yolo)
    before = current_torch_assignment(yolo)
    report = apply_assignment(yolo, wanted)
    assert current_torch_assignment(yolo) == report.applied == report.requested == wanted
    assert report.changed == dict.fromkeys(wanted.swaps(before), "silu")
    modules = [yolo.model.get_submodule(site) for site in wanted]
    assert len({id(module) for module in modules}) == len(wanted)
    assert Conv.default_act not in modules
    assert type(Conv.default_act) is nn.SiLU  # Which other networks share.
    assert str(report).startswith(f"{len(wanted)} of {len(wanted)} requested sites hold their activation; ")


def test_only_the_requested_sites_change(tiny_yaml):
    yolo = YOLO(tiny_yaml)
    before = current_torch_assignment(yolo)
    report = apply_assignment(yolo.model, {"model.1.act": "relu"})
    assert report.applied.swaps(before) == {"model.1.act": "relu"}
    assert str(report) == "1 of 1 requested sites hold their activation; 1 were changed; all 69: silu x 68, relu x 1"


def test_the_network_computes_with_them(tiny_yaml):
    """The first convolution's output is clipped by its new activation, and prelu learns in the network."""
    yolo = YOLO(tiny_yaml)
    apply_assignment(yolo, mixed(yolo))
    seen = {}
    yolo.model.get_submodule("model.0.act").register_forward_hook(lambda module, x, y: seen.update(x=x[0], y=y))
    yolo.model.train()(torch.randn(2, 3, 64, 64))["boxes"].sum().backward()
    assert torch.equal(seen["y"], seen["x"].clamp(min=0))
    slopes = next(module for module in yolo.model.modules() if isinstance(module, nn.PReLU))
    assert slopes.weight.grad is not None
    assert len(slopes.weight) > 1


def test_copies_and_pickles_keep_it(tiny_yaml):
    yolo = YOLO(tiny_yaml)
    wanted = mixed(yolo)
    apply_assignment(yolo, wanted)
    for other in (copy.deepcopy(yolo.model), pickle.loads(pickle.dumps(yolo.model))):
        assert current_torch_assignment(other) == wanted  # Also of the sites that have become identities.


def test_checkpoints_keep_it(tiny_yaml, tmp_path):
    yolo = YOLO(tiny_yaml)
    wanted = mixed(yolo)
    apply_assignment(yolo, wanted)
    yolo.save(tmp_path / "mixed.pt")
    assert current_torch_assignment(YOLO(tmp_path / "mixed.pt")) == wanted


def test_refusals(tiny_yaml):
    yolo = YOLO(tiny_yaml)
    with pytest.raises(InputError, match=r"which has 69. Received: 'model.99.act'; is the assignment for another"):
        apply_assignment(yolo, {"model.99.act": "relu"})
    with pytest.raises(InputError, match="name of an activation"):
        apply_assignment(yolo, {"model.0.act": "nothing"})
    assert set(current_torch_assignment(yolo).values()) == {"silu"}  # As before.
    with pytest.raises(InputError, match="Expected a YOLO of Ultralytics, or the network in it. Received: Linear"):
        current_torch_assignment(nn.Linear(1, 1))
    network = YOLO(tiny_yaml).model
    network.get_submodule("model.0").act = nn.Hardtanh()
    with pytest.raises(InputError, match="the torch module Hardtanh"):
        current_torch_assignment(network)
