"""Where the channels of a tensor go: the layers whose weights can take up a factor for each of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_actnas.surgery.activations import activation_of, calls_as_keras
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
        layer = producer(tensor).operation
        alone = len(graph.readers(tensor)) == 1 and id(tensor) not in self._outputs
        linear = getattr(layer, "activation", None) in (None, keras.activations.linear)
        return layer if alone and linear and self.can_scale(layer, tensor, axis) else None

    def can_scale(self, layer: Any, tensor: Any, axis: int) -> bool:
        """Returns whether a layer's weights can scale the channels of a tensor that it reads or writes."""
        return is_scalable(layer) and self.is_called_once(layer) and channel_axis(layer, len(tensor.shape)) == axis

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
        if not calls_as_keras(operation):
            return None
        if is_scalable(operation):
            # Batch normalization in training mode would undo any factor.
            fits = self.can_scale(operation, tensor, axis) and not call.arguments.kwargs.get("training")
            return [Reader(operation, channels)] if fits else None
        if isinstance(operation, keras.layers.Activation) and activation_of(operation) == "identity":
            return self.readers(graph, call.outputs[0], axis, channels)
        if isinstance(operation, (*_MEANS, *_MAXIMA)) or type(operation).__name__ == "Resize":
            if not _keeps_channels(operation, axis, rank):
                return None
            output = call.outputs[0]
            readers = self.readers(graph, output, axis if len(output.shape) == rank else 1, channels)
            if readers is None or not isinstance(operation, _MAXIMA):
                return readers
            return [dataclasses.replace(reader, positive=True) for reader in readers]
        if isinstance(operation, keras.layers.Flatten):
            flat = _flattened(operation, tensor.shape, axis, channels)
            return None if flat is None else self.readers(graph, call.outputs[0], 1, flat)
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


def _keeps_channels(operation: Any, axis: int, rank: int) -> bool:
    """Returns whether a pooling, padding, resizing or the like treats every channel by itself, and linearly."""
    if isinstance(operation, (keras.layers.Cropping1D, keras.layers.UpSampling1D)):
        return axis == rank - 1  # They work on axis 1, whatever the data format.
    if getattr(operation, "pad_to_aspect_ratio", False):
        return False  # Fills with a constant.
    own = "channels_first" if axis == 1 and rank > 2 else "channels_last"
    return bool(getattr(operation, "data_format", own) == own)


def _flattened(layer: Any, shape: tuple[int | None, ...], axis: int, channels: np.ndarray) -> np.ndarray | None:
    """Returns the channel of each element behind a Flatten layer, None if their number is not known."""
    sizes = [size for size in shape[1:] if size is not None]
    if len(sizes) < len(shape) - 1:
        return None
    along = channels.reshape([-1 if number == axis else 1 for number in range(1, len(shape))])
    elements = np.broadcast_to(along, sizes)
    if layer.data_format == "channels_first":
        elements = np.moveaxis(elements, 0, -1)  # That is what Keras flattens.
    return elements.ravel()
