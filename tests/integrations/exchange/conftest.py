"""Ultralytics networks as training leaves them, and photos."""

import copy
import math

import numpy as np
import pytest
import torch
from PIL import Image


def lively(network, seed=0):
    """Gives a network weights with which the signal lives through it, and statistics that are not the initial ones."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point() or ".dfl." in name:
            continue
        unit = torch.rand(tensor.shape, generator=generator)
        if tensor.ndim == 4:
            value = (2 * unit - 1) * 1.3 * math.sqrt(3 / math.prod(tensor.shape[1:]))
        elif name.endswith(("running_var", ".bn.weight")):
            value = 0.5 + unit
        elif name.endswith(".act.weight"):
            value = unit / 2
        else:
            value = unit - 0.5
        tensor.copy_(value)
    return network.eval()


@pytest.fixture(scope="session")
def make_network():
    """Returns a function: a description -> a `YOLO` with lively weights."""
    from ultralytics import YOLO

    def make(description, seed=0):
        yolo = YOLO(description, task="detect")
        lively(yolo.model, seed)
        return yolo

    return make


@pytest.fixture(scope="session")
def tiny(tiny_yaml, make_network):
    """A narrow YOLOv5n with lively weights; a copy for each test that asks."""
    yolo = make_network(tiny_yaml)
    return lambda: copy.deepcopy(yolo)


def torch_maps(network, images):
    """Returns an Ultralytics network's box and class logits (anchors, 64 + classes) of one image."""
    with torch.no_grad():
        maps = network(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))[1]
    return torch.cat([maps["boxes"], maps["scores"]], dim=1).numpy()[0].T


def keras_maps(model, images):
    """Returns the same of a Keras model, whose maps follow each other."""
    return np.concatenate([np.asarray(values).reshape(-1, values.shape[-1]) for values in model(images)])


@pytest.fixture(scope="session")
def difference():
    """Returns a function: network, Keras model, images -> the largest difference of their logits, and their size."""

    def measure(network, model, images):
        expected = torch_maps(network, images)
        return float(np.abs(keras_maps(model, images) - expected).max()), float(np.abs(expected).max())

    return measure


@pytest.fixture(scope="session")
def photo():
    """Returns a function: name, size -> one of the photos that Ultralytics ships (1, size, size, 3), in 0 .. 1."""
    from ultralytics.utils import ASSETS

    def read(name, size):
        image = Image.open(ASSETS / name).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(image, "float32")[None] / 255

    return read
