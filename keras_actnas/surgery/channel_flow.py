"""Where the channels of a tensor go: the layers whose weights can take up a factor for each of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_actnas.surgery.activations import activation_of
from keras_actnas.surgery.channel_scales import channel_axis, is_scalable
from keras_actnas.surgery.graph import Graph, is_graph_model, producer

_MEANS = (
    *(getattr(keras.layers, f"AveragePooling{rank}D") for rank in (1, 2, 3)),
    *(getattr(keras.layers, f"GlobalAveragePooling{rank}D") for rank in (1, 2, 3)),
    *(getattr(keras.layers, f"ZeroPadding{rank}D") for rank in (1, 2, 3)),
    *(getattr(keras.layers, f"Cropping{rank}D") for rank in (1, 2, 3)),
    *(getattr(keras.layers, f"UpSampling{rank}D") for rank in (1, 2, 3)),
    *(getattr(keras.layers, f"SpatialDropout{rank}D") for rank in (1, 2, 3)),
    keras.layers.Dropout,
    keras.layers.Identity,
)
"""Layers that are linear for each channel by itself, whatever the sign of a factor."""

_MAXIMA = (
    *(getattr(keras.layers, f"MaxPooling{rank}D") for rank in (1, 2, 3)),
    *(getattr(keras.layers, f"GlobalMaxPooling{rank}D") for rank in (1, 2, 3)),
)
"""Layers through which a factor goes if it is positive."""


@dataclasses.dataclass(frozen=True)
class Reader:
    """A layer that reads channels and can take up factors.

    Attributes:
      layer: The layer.
      channels: For each of the layer's input channels, which channel of the tensor in question it is, or -1.
      positive: Whether factors must be positive to get there.
    """

    layer: Any
    channels: np.ndarray
    positive: bool = False


class ChannelFlow:
    """The flow of channels through a functional model, nested models included.

    Args:
      model: A functional or Sequential model.
    """

    def __init__(self, model: keras.Model) -> None:
        self.graphs: list[Graph] = []
        self._outputs: set[int] = set()
        self._collect(model, set())

    def _collect(self, model: keras.Model, seen: set[int]) -> None:
        if id(model) in seen:
            return
        seen.add(id(model))
        graph = Graph(model)
        self.graphs.append(graph)
        self._outputs.update(id(tensor) for tensor in model.outputs)
        for operation in graph.operations:
            if is_graph_model(operation):
                self._collect(operation, seen)

    def is_called_once(self, operation: Any) -> bool:
        """Returns whether there is exactly one call of an operation, so that its weights serve one purpose."""
        return sum(len(graph.calls(operation)) for graph in self.graphs) == 1

    def writer(self, graph: Graph, tensor: Any, axis: int) -> Any | None:
        """Returns the layer whose weights can scale a tensor's channels without anyone else noticing, or None."""
        call = producer(tensor)
        layer = call.operation
        alone = len(graph.readers(tensor)) == 1 and id(tensor) not in self._outputs
        if not alone or not self._can_scale(layer) or channel_axis(layer, len(tensor.shape)) != axis:
            return None
        return layer if activation_of(layer) in (None, "identity") and _is_linear(layer) else None

    def readers(self, graph: Graph, tensor: Any, axis: int, channels: np.ndarray | None = None) -> list[Reader] | None:
        """Returns the layers that can take up factors of a tensor's channels, or None if there is another reader.

        Args:
          graph: The graph that holds the tensor.
          tensor: A symbolic tensor.
          axis: Its channel axis.
          channels: Its channels; by default, they are numbered.
        """
        if id(tensor) in self._outputs:
            return None
        channels = np.arange(tensor.shape[axis]) if channels is None else channels
        found: list[Reader] = []
        for call in {id(call): call for call in graph.readers(tensor)}.values():
            behind = self._behind(graph, call, tensor, axis, channels)
            if behind is None:
                return None
            found += behind
        return found

    def _behind(self, graph: Graph, call: Any, tensor: Any, axis: int, channels: np.ndarray) -> list[Reader] | None:
        """Returns the layers behind one call that reads the tensor."""
        operation, rank = call.operation, len(tensor.shape)
        if is_scalable(operation):
            fits = self.is_called_once(operation) and channel_axis(operation, rank) == axis
            return [Reader(operation, channels)] if fits else None
        if isinstance(operation, keras.layers.Layer) and activation_of(operation) == "identity":
            return self.readers(graph, call.outputs[0], axis, channels)
        if isinstance(operation, (*_MEANS, *_MAXIMA)) or type(operation).__name__ == "Resize":
            if getattr(operation, "data_format", _format(axis, rank)) != _format(axis, rank):
                return None
            output = call.outputs[0]
            readers = self.readers(graph, output, axis if len(output.shape) == rank else 1, channels)
            if readers is None or not isinstance(operation, _MAXIMA):
                return readers
            return [dataclasses.replace(reader, positive=True) for reader in readers]
        if isinstance(operation, keras.layers.Flatten):
            positions = int(np.prod(tensor.shape[1:])) // len(channels)
            flat = np.repeat(channels, positions) if axis == 1 and rank > 2 else np.tile(channels, positions)
            return self.readers(graph, call.outputs[0], 1, flat)
        if type(operation).__name__ == "Concatenate" and operation.axis % rank == axis:
            parts = [
                channels if part is tensor else np.full(part.shape[axis], -1)
                for part in keras.tree.flatten(call.input_tensors)
            ]
            return self.readers(graph, call.outputs[0], axis, np.concatenate(parts))
        if type(operation).__name__ == "Split" and operation.axis % rank == axis:
            return self._behind_split(graph, call, axis, channels)
        return None

    def _behind_split(self, graph: Graph, call: Any, axis: int, channels: np.ndarray) -> list[Reader] | None:
        found: list[Reader] = []
        start = 0
        for output in call.outputs:
            size = output.shape[axis]
            behind = self.readers(graph, output, axis, channels[start : start + size])
            if behind is None:
                return None
            found += behind
            start += size
        return found

    def _can_scale(self, layer: Any) -> bool:
        return is_scalable(layer) and self.is_called_once(layer)


def _is_linear(layer: Any) -> bool:
    activation = getattr(layer, "activation", None)
    return activation is None or activation is keras.activations.linear


def _format(axis: int, rank: int) -> str:
    return "channels_first" if axis == 1 and rank > 2 else "channels_last"
