"""Weights between Ultralytics and Keras: which tensor is which variable, and that none is left over."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_actnas.core import InputError, site_name
from keras_actnas.core.anchors import BINS
from keras_actnas.models.yolo_blocks import BN_EPSILON

_TORCH_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "alpha": "weight",
}
_SHOWN = 6

Arrays = dict[str, np.ndarray]
"""Tensors by PyTorch's names (`model.0.conv.weight`), in PyTorch's layouts."""


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where a tensor of PyTorch is in a Keras model.

    Attributes:
      variable: The Keras variable.
      axes: Its axes in PyTorch's order.
      shape: The tensor's shape.
    """

    variable: Any
    axes: tuple[int, ...]
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        """Returns the variable's value as the tensor."""
        value = keras.ops.convert_to_numpy(self.variable).astype("float32")
        return np.ascontiguousarray(value.transpose(self.axes).reshape(self.shape))

    def write(self, tensor: np.ndarray) -> None:
        """Gives the variable the tensor's value."""
        permuted = tuple(self.variable.shape[axis] for axis in self.axes)
        self.variable.assign(tensor.reshape(permuted).transpose(np.argsort(self.axes)))


def slots(model: keras.Model) -> dict[str, Slot]:
    """Returns where each tensor is in a Keras YOLO, by PyTorch's name.

    A convolution's kernel is (height, width, in, out) in Keras and (out, in, height, width) in PyTorch, a depthwise
    one's (height, width, channels, 1) and (channels, 1, height, width); PReLU's slopes are (1, 1, channels) and
    (channels,).
    """
    found = {}
    for layer in model.layers:
        for variable in layer.weights:
            axes = tuple(range(len(variable.shape)))
            if len(axes) == 4:
                axes = (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (3, 2, 0, 1)
            shape = tuple(int(variable.shape[axis]) for axis in axes)
            if isinstance(layer, keras.layers.PReLU) and shape[:-1] == (1, 1):
                shape = shape[-1:]
            name = f"{site_name(layer.name)}.{_TORCH_NAMES.get(variable.name, variable.name)}"
            found[name] = Slot(variable, axes, shape)
    return found


def load(model: keras.Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Gives a Keras YOLO the weights of an Ultralytics network.

    Args:
      model: The model; only written to when every tensor has a place.
      tensors: The network's `state_dict`, as arrays. The convolutions may have been fused with their normalizations;
        then the model's normalizations become the bias alone.

    Raises:
      InputError: Tensors have no place in the model, or the model's variables no tensor, or shapes differ.
    """
    places = slots(model)
    tensors = unfused(tensors, places)
    tensors = {name: _as_shaped(name, value, places) for name, value in tensors.items()}
    _settle_decoding(tensors, places)
    check({name: slot.shape for name, slot in places.items()}, {name: np.shape(t) for name, t in tensors.items()})
    for name, slot in places.items():
        slot.write(tensors[name].astype("float32"))


def unfused(tensors: Mapping[str, np.ndarray], places: Mapping[str, Slot]) -> Arrays:
    """Returns tensors without counters, and with normalizations in place of biases that took them in.

    Args:
      tensors: A network's `state_dict`, as arrays.
      places: Where the model that it is for wants tensors.
    """
    result: Arrays = {}
    for name, value in tensors.items():
        if name.endswith(".num_batches_tracked"):  # Counts training steps; of no use with a fixed momentum.
            continue
        owner = name.removesuffix(".conv.bias")
        norm = f"{owner}.bn"
        if owner != name and f"{norm}.bias" in places and f"{norm}.bias" not in tensors:
            one = np.ones(len(value), "float32")
            # Keras adds epsilon to the variance: their sum is 1, and nothing is scaled.
            result |= {f"{norm}.weight": one, f"{norm}.bias": value, f"{norm}.running_mean": 0 * one}
            result[f"{norm}.running_var"] = one - np.float32(BN_EPSILON)
        else:
            result[name] = value
    return result


def check(expected: Mapping[str, tuple[int, ...]], received: Mapping[str, tuple[int, ...]]) -> None:
    """Raises `InputError`, which lists them, when tensors are missing, left over, or of other shapes."""
    parts = [
        ("missing", [name for name in expected if name not in received]),
        ("without a place", [name for name in received if name not in expected]),
        ("of another shape", list(_misshapen(expected, received))),
    ]
    if any(names for _, names in parts):
        raise InputError(
            f"Expected the {len(expected)} tensors of this network. Received some "
            + "; ".join(f"{what}: {_some(names)}" for what, names in parts if names)
            + ". Is it another network?"
        )


def _misshapen(expected: Mapping[str, Any], received: Mapping[str, Any]) -> Iterator[str]:
    for name in expected.keys() & received.keys():
        if tuple(expected[name]) != tuple(received[name]):
            yield f"{name} {tuple(received[name])} for {tuple(expected[name])}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(sorted(names)[:_SHOWN]) + more


def _as_shaped(name: str, value: np.ndarray, places: Mapping[str, Slot]) -> np.ndarray:
    """Returns a PReLU's only slope as one for each channel; any other tensor as it is."""
    shared = name.endswith(".act.weight") and value.shape == (1,) and name in places
    return np.broadcast_to(value, places[name].shape) if shared else value


def _settle_decoding(tensors: Arrays, places: Mapping[str, Slot]) -> None:
    """Checks the fixed weights of the decoding, and takes them out where the model returns maps and has none."""
    for name in [name for name in tensors if name.endswith(".dfl.conv.weight")]:
        if not np.array_equal(np.ravel(tensors[name]), np.arange(BINS)):
            raise InputError(f"Expected the weights 0 .. {BINS - 1} of the decoding in {name}. Received: others.")
        if name not in places:
            del tensors[name]
