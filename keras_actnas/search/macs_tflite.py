"""Multiply-accumulates and parameters of a .tflite, operator by operator."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.export.graph_scan import GraphIndex, is_quantized
from keras_actnas.export.schema import read_model
from keras_actnas.search.loops import count_rounds, evaluate
from keras_actnas.search.macs import LayerCount

_FOREIGN = (
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "FlexConv",
    "FlexDepthwise",
    "FlexEinsum",
    "FlexMatMul",
    "FlexBatchMatMul",
    "LSTM",
    "RNN",
    "STABLEHLO_COMPOSITE",
    "STABLEHLO_CONVOLUTION",
    "STABLEHLO_DOT_GENERAL",
    "SVDF",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
    "ethos-u",
)
"""What the names begin with of operators that multiply and whose multiply-accumulates are not counted here."""

# By TFLite's `TensorType`.
_NUMBERS = {0: np.float32, 2: np.int32, 4: np.int64, 6: np.bool_}
_FLOATS = (0, 1, 10)


def tflite_layers(source: str | os.PathLike[str] | bytes) -> list[LayerCount]:
    """Returns the counts of every operator of a .tflite, in the order of execution.

    Raises:
      InputError: Not a whole .tflite, dynamic shapes, or an operator whose multiply-accumulates cannot be told.
    """
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    return _Network(read_model(source), name).count(0)


class _Network:
    """A .tflite with the constants of which it is known that they were counted."""

    def __init__(self, model: Any, name: str) -> None:
        self._graphs = [GraphIndex(model, subgraph) for subgraph in model.subgraphs]
        self._name = name
        self._counted: set[int] = set()

    def count(self, number: int, times: int = 1) -> list[LayerCount]:
        """Returns the counts of one subgraph that is run a number of times."""
        graph = self._graphs[number]
        layers: list[LayerCount] = []
        for position, operator in enumerate(graph.subgraph.operators):
            name, options = graph.names[position], operator.builtinOptions
            if name == "WHILE":
                layers += self.count(options.bodySubgraphIndex, times * self._rounds(graph, operator))
            elif name == "IF":
                branches = [self.count(one, times) for one in (options.thenSubgraphIndex, options.elseSubgraphIndex)]
                layers += max(branches, key=lambda branch: sum(layer.macs for layer in branch))
            else:
                layers.append(self._layer(graph, name, operator, times))
        return layers

    def _layer(self, graph: GraphIndex, name: str, operator: Any, times: int) -> LayerCount:
        if name.startswith(_FOREIGN):
            raise InputError(
                f"Expected operators whose multiply-accumulates can be told. Received: {name} in {self._name}."
            )
        output = int(operator.outputs[0]) if len(operator.outputs) else -1
        macs = 0
        if name in _PRODUCTS:
            self._check_static(graph, output)
            macs = times * _PRODUCTS[name](_Shapes(graph, operator))
        label = (graph.subgraph.tensors[output].name or b"").decode() if output >= 0 else name
        shape = _shape(graph, output)[1:] if output >= 0 else ()
        return LayerCount(label, name, shape, self._parameters(graph, operator), macs)

    def _parameters(self, graph: GraphIndex, operator: Any) -> int:
        """Returns the number of elements of an operator's constants, without those that were counted before."""
        total = 0
        for tensor in map(int, operator.inputs):
            details = graph.subgraph.tensors[tensor]
            number = details.type in _FLOATS or is_quantized(details)
            if tensor < 0 or not number or graph.constant(tensor) is None or details.buffer in self._counted:
                continue
            self._counted.add(details.buffer)
            total += math.prod(_shape(graph, tensor))
        return total

    def _rounds(self, graph: GraphIndex, operator: Any) -> int:
        start = [evaluate(_Scalars(graph), int(tensor), {}) for tensor in operator.inputs]
        options = operator.builtinOptions
        condition, body = self._graphs[options.condSubgraphIndex], self._graphs[options.bodySubgraphIndex]
        rounds = count_rounds(_Scalars(condition), _Scalars(body), start)
        if rounds is None:
            raise InputError(
                "Expected loops whose number of rounds is known before they run. "
                f"Received: {self._name} with one that runs as often as its data say."
            )
        return rounds

    def _check_static(self, graph: GraphIndex, tensor: int) -> None:
        signature = graph.subgraph.tensors[tensor].shapeSignature
        if signature is not None and len(signature) and np.min(signature[1:], initial=1) < 0:
            raise InputError(
                f"Expected a .tflite with static shapes. Received: {self._name}, which computes a tensor of shape "
                f"{[int(size) for size in signature]}. Convert it with fixed inputs "
                "(`keras_actnas.export.to_tflite` does)."
            )


class _Shapes:
    """The shapes of an operator's inputs and first output."""

    def __init__(self, graph: GraphIndex, operator: Any) -> None:
        self.inputs = [_shape(graph, int(tensor)) if tensor >= 0 else () for tensor in operator.inputs]
        self.output = _shape(graph, int(operator.outputs[0]))
        self.options = operator.builtinOptions


def _shape(graph: GraphIndex, tensor: int) -> tuple[int, ...]:
    shape = graph.subgraph.tensors[tensor].shape
    return tuple(int(size) for size in shape) if shape is not None else ()


def _matrix_product(shapes: _Shapes) -> int:
    return math.prod(shapes.output) * shapes.inputs[0][-2 if shapes.options.adjX else -1]


# Kernels are (output channels, positions ..., input channels of a group) but for three dimensions, where they are
# (positions ..., input channels, output channels), and for the depthwise one, (1, positions ..., output channels).
_PRODUCTS = {
    "BATCH_MATMUL": _matrix_product,
    "CONV_2D": lambda shapes: math.prod(shapes.output) * math.prod(shapes.inputs[1][1:]),
    "CONV_3D": lambda shapes: math.prod(shapes.output) * math.prod(shapes.inputs[1][:-1]),
    "CONV_3D_TRANSPOSE": lambda shapes: math.prod(shapes.inputs[2]) * math.prod(shapes.inputs[1][:-1]),
    "DEPTHWISE_CONV_2D": lambda shapes: math.prod(shapes.output) * math.prod(shapes.inputs[1][1:-1]),
    "FULLY_CONNECTED": lambda shapes: math.prod(shapes.output) * shapes.inputs[1][-1],
    "TRANSPOSE_CONV": lambda shapes: math.prod(shapes.inputs[2]) * math.prod(shapes.inputs[1][:-1]),
}


class _Scalars:
    """A subgraph's single numbers, for `count_rounds`."""

    def __init__(self, graph: GraphIndex) -> None:
        self._graph = graph
        self.inputs = [int(tensor) for tensor in graph.subgraph.inputs]
        self.outputs = [int(tensor) for tensor in graph.subgraph.outputs]

    def constant(self, tensor: int) -> np.ndarray | None:
        """Returns the value of a constant that is no weight."""
        details, data = self._graph.subgraph.tensors[tensor], self._graph.constant(tensor)
        return None if data is None or details.type not in _NUMBERS else data.view(_NUMBERS[details.type])

    def producer(self, tensor: int) -> tuple[str, list[int]] | None:
        """Returns the name and the inputs of the operator that computes a tensor."""
        position = self._graph.writer.get(tensor)
        if position is None or len(self._graph.subgraph.operators[position].outputs) != 1:
            return None
        return self._graph.names[position], [int(one) for one in self._graph.subgraph.operators[position].inputs]
