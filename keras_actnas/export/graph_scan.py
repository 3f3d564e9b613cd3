"""Finds the activations of a TFLite graph and takes them out, which leaves a skeleton that edits can fill."""

from __future__ import annotations

import collections
import copy
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_actnas.export.activation_ops import FUSING, fused_name, single_operator_activation
from keras_actnas.export.schema import operator_name, schema

METADATA = b"keras_actnas"
"""Name of the metadata entry that lists a network's sites and the tensors that hold their activations."""


@dataclasses.dataclass
class Place:
    """One application of a site's activation in a graph.

    Attributes:
      activation: What the graph applies here.
      pre: Index of the tensor before the activation.
      post: Index of the tensor after it.
      producer: The operator that can fuse a ReLU here, or None when the tensor before has other readers as well, or
        its operator cannot fuse.
      pre_known: False where the graph had the activation fused and quantized: the range of the tensor before it is
        then nowhere in the file.
      site: Name of the site, once known.
    """

    activation: str
    pre: int
    post: int
    producer: Any = None
    pre_known: bool = True
    site: str = ""


class GraphIndex:
    """Who writes and who reads each tensor of a subgraph."""

    def __init__(self, model: Any, subgraph: Any) -> None:
        self.model = model
        self.subgraph = subgraph
        self.names = [operator_name(model, operator) for operator in subgraph.operators]
        self.writer: dict[int, int] = {}
        self.readers: dict[int, list[int]] = collections.defaultdict(list)
        for position, operator in enumerate(subgraph.operators):
            for tensor in operator.outputs:
                self.writer[int(tensor)] = position
            for tensor in operator.inputs:
                self.readers[int(tensor)].append(position)
        self.outputs = {int(tensor) for tensor in subgraph.outputs}

    def constant(self, tensor: int) -> np.ndarray | None:
        """Returns the raw bytes of a constant tensor, or None for a computed one."""
        data = self.model.buffers[self.subgraph.tensors[tensor].buffer].data
        return None if data is None or len(data) == 0 else np.asarray(data, np.uint8)

    def private(self, tensor: int, readers: set[int]) -> bool:
        """Whether exactly `readers` read `tensor`, and it is no output of the graph."""
        return tensor not in self.outputs and set(self.readers[tensor]) == readers


def scan(model: Any, subgraph: Any) -> list[Any]:
    """Returns the operators of `subgraph` with each activation replaced by a `Place`, in the order of execution.

    Operators with a fused ReLU appear without it, followed by their place; the tensor in between is added to
    `subgraph.tensors`. The operators themselves are copies.
    """
    index = GraphIndex(model, subgraph)
    places = dict(_activation_places(index))
    swallowed = {position for position, (_, operators) in places.items() for position in operators}
    skeleton: list[Any] = []
    kept: dict[int, Any] = {}
    for position, operator in enumerate(list(subgraph.operators)):
        if position not in swallowed:
            kept[position] = copy.copy(operator)
            skeleton.append(kept[position])
        if position in places:
            place, operators = places[position]
            if not operators:
                _unfuse(subgraph, kept[position], place)
            else:
                place.producer = _fusing_producer(index, kept, place, set(operators))
            skeleton.append(place)
    return skeleton


def _activation_places(index: GraphIndex) -> Iterator[tuple[int, tuple[Place, list[int]]]]:
    """Yields position -> (place, positions of the operators that compute it); no positions means "fused"."""
    for position, operator in enumerate(index.subgraph.operators):
        name = index.names[position]
        if name == "LOGISTIC":
            multiply = _silu_multiply(index, position)
            if multiply is not None:
                post = int(index.subgraph.operators[multiply].outputs[0])
                yield multiply, (Place("silu", int(operator.inputs[0]), post), [position, multiply])
            continue
        single = single_operator_activation(name, operator.builtinOptions)
        if single is not None:
            yield position, (Place(single, int(operator.inputs[0]), int(operator.outputs[0])), [position])
        elif name in FUSING:
            fused = fused_name(getattr(operator.builtinOptions, "fusedActivationFunction", 0) or 0)
            if fused not in (None, "identity"):
                yield position, (Place(str(fused), -1, int(operator.outputs[0]), producer=operator), [])


def _silu_multiply(index: GraphIndex, position: int) -> int | None:
    """Returns the position of the MUL that makes a LOGISTIC a SiLU, or None."""
    logistic = index.subgraph.operators[position]
    pre, gate = int(logistic.inputs[0]), int(logistic.outputs[0])
    readers = index.readers[gate]
    if len(readers) != 1 or gate in index.outputs or index.names[readers[0]] != "MUL":
        return None
    multiply = index.subgraph.operators[readers[0]]
    if {int(tensor) for tensor in multiply.inputs} != {pre, gate} or multiply.builtinOptions.fusedActivationFunction:
        return None
    return readers[0]


def _unfuse(subgraph: Any, operator: Any, place: Place) -> None:
    """Gives a fused operator an output of its own in front of its activation."""
    before = copy.copy(subgraph.tensors[place.post])
    before.name = before.name + b"/pre"
    subgraph.tensors.append(before)
    operator.builtinOptions = copy.copy(operator.builtinOptions)
    operator.builtinOptions.fusedActivationFunction = schema().ActivationFunctionType.NONE
    operator.outputs = np.asarray([len(subgraph.tensors) - 1], np.int32)
    place.pre = len(subgraph.tensors) - 1
    place.producer = operator
    place.pre_known = not is_quantized(before)


def _fusing_producer(index: GraphIndex, kept: dict[int, Any], place: Place, own: set[int]) -> Any:
    """Returns the operator that can take a fused ReLU at `place`; looks through a RESHAPE, as the converter does."""
    tensor, readers = place.pre, own
    while index.private(tensor, readers) and tensor in index.writer:
        position = index.writer[tensor]
        if index.names[position] in FUSING:
            options = index.subgraph.operators[position].builtinOptions
            return kept[position] if options is not None and not options.fusedActivationFunction else None
        if index.names[position] != "RESHAPE":
            return None
        tensor, readers = int(index.subgraph.operators[position].inputs[0]), {position}
    return None


def is_quantized(tensor: Any) -> bool:
    """Whether a tensor holds integers with a scale."""
    return (
        tensor.quantization is not None and tensor.quantization.scale is not None and len(tensor.quantization.scale) > 0
    )


def read_site_tensors(model: Any) -> dict[str, list[str]] | None:
    """Returns site -> names of the tensors after its activation, from the file's metadata; None without metadata."""
    for entry in model.metadata or []:
        if entry.name == METADATA:
            return json.loads(bytes(model.buffers[entry.buffer].data))["sites"]
    return None


def write_site_tensors(model: Any, sites: dict[str, list[str]]) -> None:
    """Records in the file's metadata which tensors hold the activations of which site."""
    fb = schema()
    buffer = fb.BufferT()
    buffer.data = np.frombuffer(json.dumps({"sites": sites}).encode(), np.uint8)
    entry = fb.MetadataT()
    entry.name = METADATA
    entry.buffer = len(model.buffers)
    model.buffers = [*model.buffers, buffer]
    model.metadata = [*(model.metadata or []), entry]
