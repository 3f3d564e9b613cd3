"""Restructuring: the channels that a partial activation leaves linear become one convolution."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_actnas import core
from keras_actnas.layers.partial_activation import PartialActivation
from keras_actnas.surgery.activations import activation_like, activation_of
from keras_actnas.surgery.channel_flow import ChannelFlow
from keras_actnas.surgery.copying import Rewrite, Section, copy_model
from keras_actnas.surgery.graph import Graph, producer
from keras_actnas.surgery.recreate import recreate

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


def restructure_linear(model: keras.Model) -> keras.Model:
    """Returns a copy of a model in which what `PartialActivation` leaves linear is composed into one layer.

    From Bhardwaj et al., "Restructurable Activation Networks" (2022), section 4 and figure 8(b). A `PartialActivation`
    lies between two layers: a convolution or dense layer, which makes the hidden channels, and a 1x1 convolution or
    dense layer, which reads them. In the copy both keep the channels with an activation only, and a new layer beside
    them, of the first one's kind and kernel size, has the product of the two kernels on the other channels; the outputs
    of both ways are added. With w channels before and behind, h hidden channels and a linear share f, a 1x1 convolution
    had 2 w h multiply-accumulates for each pixel and has 2 w h (1 - f) + w^2.

    The outputs are those of `model`, up to rounding, the border of images included: whatever the first layer pads, the
    second reads single pixels. The copy is not compiled and can be trained further. Layers keep their names;
    the partial activation `act` becomes a plain one of that name, with `act-linear` and `act-merge` beside and behind
    it. `model` stays as it is.

    Args:
      model: A functional or Sequential model with `PartialActivation` layers.

    Raises:
      InputError: The model is not functional or has no `PartialActivation`, or one of them does not lie between two
        such layers, which nothing else reads or shares.

    >>> layers = [keras.layers.Dense(10), PartialActivation("gelu", 0.4, name="act"), keras.layers.Dense(4)]
    >>> model = keras.Sequential([keras.Input((4,)), *layers])
    >>> restructure_linear(model).count_params(), model.count_params()
    (78, 94)
    """
    flow = ChannelFlow(model)
    places = [place for graph in flow.graphs for place in _places(flow, graph)]
    if not places:
        raise core.InputError(
            f"Expected a model with PartialActivation layers. Received: {model.name!r}, which has none; build it with "
            "`ConvNeXt(..., linear_fraction=0.4, restructured=False)`."
        )
    sections: dict[int, Any] = {}
    for place in places:
        sections[id(place.before)] = Section(place.restructured)
        sections[id(place.act)] = sections[id(place.behind)] = Section(lambda inputs: inputs)
    return copy_model(model, Rewrite(instead=lambda layer: sections.get(id(layer))))


@dataclasses.dataclass(frozen=True)
class _Place:
    """A partial activation between the layer that makes its channels, of which `curved` keep it, and their reader."""

    before: Any
    act: PartialActivation
    behind: Any
    curved: int

    def restructured(self, inputs: Any) -> Any:
        """Applies the layers that stand for all three, and gives them their weights."""
        name, curved = self.act.name, self.curved
        (kernel, bias), (next_kernel, next_bias) = _weights(self.before), _weights(self.behind)
        before, behind = _with_channels(self.before, curved, self.before.name), recreate(self.behind)
        outputs = behind(activation_like(self.act.activation, name, self.act, len(inputs.shape))(before(inputs)))
        _set_weights(before, kernel[..., :curved], bias[:curved])
        _set_weights(behind, next_kernel[..., :curved, :], next_bias)
        if curved == kernel.shape[-1]:
            return outputs
        into = next_kernel.reshape(next_kernel.shape[-2:])[curved:]
        linear = _with_channels(self.before, into.shape[-1], f"{name}-linear")
        beside = linear(inputs)
        _set_weights(linear, kernel[..., curved:] @ into, bias[curved:] @ into)
        return keras.layers.Add(name=f"{name}-merge", dtype=self.behind.dtype_policy)([outputs, beside])


def _places(flow: ChannelFlow, graph: Graph) -> Iterator[_Place]:
    """Yields the places of a graph's partial activations."""
    for act in graph.operations:
        if not isinstance(act, PartialActivation):
            continue
        call = graph.calls(act)[0]
        shape = call.outputs[0].shape
        axis = act.channel_axis(shape)
        before = flow.writer(graph, call.input_tensors[0], axis)
        behind = _only_reader(flow, graph, call.outputs[0], axis)
        if not (flow.is_called_once(act) and _mixes_channels(before) and _mixes_channels(behind, pixels=True)):
            raise core.InputError(
                "Expected each PartialActivation right between a convolution or dense layer, which it alone reads, and "
                "a 1x1 convolution or dense layer, which alone reads it; none of them called twice, grouped, or with "
                f"an activation of its own. Received: {act.name!r} behind "
                f"{producer(call.input_tensors[0]).operation.name!r} and read by "
                f"{', '.join(repr(reader.operation.name) for reader in graph.readers(call.outputs[0])) or 'none'}."
            )
        yield _Place(before, act, behind, act.split(shape)[0])


def _only_reader(flow: ChannelFlow, graph: Graph, tensor: Any, axis: int) -> Any | None:
    """Returns the layer that reads a tensor's channels with weights of its own, if it is the only reader."""
    readers, calls = flow.readers(graph, tensor, axis) or [], graph.readers(tensor)
    return readers[0].layer if len(calls) == len(readers) == 1 and readers[0].layer is calls[0].operation else None


def _mixes_channels(layer: Any, pixels: bool = False) -> bool:
    """Returns whether every output channel of a layer is a linear function of all input channels.

    Args:
      layer: A layer that has weights for its channels, or None.
      pixels: Whether it has to be one of each pixel by itself, too.
    """
    if not isinstance(layer, (*_CONVOLUTIONS, keras.layers.Dense)) or activation_of(layer) != "identity":
        return False
    if isinstance(layer, keras.layers.Dense):
        return True
    alone = set(layer.kernel_size) == {1} == set(layer.strides)
    return layer.groups == 1 and (alone or not pixels)


def _weights(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the kernel of a layer, and its bias, which is 0 where it has none."""
    kernel = np.asarray(keras.ops.convert_to_numpy(layer.kernel), "float64")
    bias = np.asarray(keras.ops.convert_to_numpy(layer.bias), "float64") if layer.use_bias else None
    return kernel, np.zeros(kernel.shape[-1]) if bias is None else bias


def _set_weights(layer: Any, kernel: np.ndarray, bias: np.ndarray) -> None:
    layer.set_weights([kernel, bias] if layer.use_bias else [kernel])


def _with_channels(layer: Any, channels: int, name: str) -> Any:
    """Returns a new layer like another, with other output channels."""
    key = "units" if isinstance(layer, keras.layers.Dense) else "filters"
    return recreate(layer, lambda config: {**config, key: channels, "name": name})
