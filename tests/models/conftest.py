"""What Ultralytics' networks are, frozen; and their weights' names and layouts, seen from Keras."""

import json
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_actnas.core import site_name

_TORCH_NAMES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "bias": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@pytest.fixture(scope="session")
def golden():
    """Read off Ultralytics 8.4.190: `named_modules()`, `state_dict()`, and outputs under `golden_values`."""
    return json.loads((Path(__file__).parent / "data" / "yolo_golden.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def torch_weights():
    """Returns a function: model -> {PyTorch's name: (variable, its axes in PyTorch's order)}."""

    def collect(model):
        weights = {}
        for layer in model.layers:
            for variable in layer.weights:
                axes = tuple(range(len(variable.shape)))
                if len(axes) == 4:
                    axes = (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (3, 2, 0, 1)
                weights[f"{site_name(layer.name)}.{_TORCH_NAMES[variable.name]}"] = (variable, axes)
        return weights

    return collect


def golden_values(name, shape):
    """Numbers that any process makes alike; BatchNorm and gains such that the signal lives through the network."""
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw(int(np.prod(shape)))
    unit = ((raw >> np.uint64(11)) * 2.0**-53).reshape(shape)
    if name.endswith("running_var"):
        return 0.5 + unit
    if name.endswith("running_mean"):
        return unit - 0.5
    if len(shape) == 4:
        return (2 * unit - 1) * 1.3 * (3 / np.prod(shape[1:])) ** 0.5
    return 0.5 + unit if name.endswith("weight") else 2 * unit - 1


@pytest.fixture(scope="session")
def fill(torch_weights):
    """Returns a function that gives a model the golden weights (the decoding's fixed weights stay)."""

    def assign(model):
        for name, (variable, axes) in torch_weights(model).items():
            if ".dfl." not in name:
                shape = tuple(variable.shape[axis] for axis in axes)
                variable.assign(golden_values(name, shape).transpose(np.argsort(axes)).astype("float32"))
        return model

    return assign


@pytest.fixture(scope="session")
def images():
    """Returns a function: height, width -> one image (1, height, width, 3), the same in every process."""

    def make(height, width):
        values = golden_values("images", (1, 3, height, width)).astype("float32") * 0.5 + 0.5
        return np.ascontiguousarray(values.transpose(0, 2, 3, 1))

    return make
