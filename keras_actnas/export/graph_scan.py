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

GATE = b"/gate"
"""What the name of the tensor between the two operators of a SiLU ends with, behind the name of the SiLU's output."""


@dataclasses.dataclass
class Place:
    """One application of a site's activation in a graph.

    Attributes:
      activation: What the graph applies here.
      pre: Index of the tensor before the activation.
      post: Index of the tensor after it.
      producer: What comes before and may fuse a ReLU: an operator that can, or another place, which depends on the
        activation there; None when the tensor before has other readers as well, or its operator cannot fuse.
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
    makers: dict[int, Any] = {}  # Position -> what is left of the operator: a copy of it, or the place it was part of.
    for position, operator in enumerate(list(subgraph.operators)):
        if position not in swallowed:
            makers[position] = copy.copy(operator)
            skeleton.append(makers[position])
        if position in places:
            place, operators = places[position]
            if not operators:
                _unfuse(subgraph, makers[position], place)
            else:
                place.producer = _fusing_producer(index, makers, place, set(operators))
            skeleton.append(place)
            makers[position] = place
            if operators and (code := _fused(operator)):
                makers[position] = _second_place(index, place, str(fused_name(code)))
                skeleton.append(makers[position])
    return skeleton


def _activation_places(index: GraphIndex) -> Iterator[tuple[int, tuple[Place, list[int]]]]:
    """Yields position -> (place, positions of the operators that compute it); no positions means "fused"."""
    multiplications = set()
    for position, operator in enumerate(index.subgraph.operators):
        name = index.names[position]
        if position in multiplications:
            continue
        if name == "LOGISTIC":
            multiply = silu_multiply(index, position)
            if multiply is not None:
                multiplications.add(multiply)
                post = int(index.subgraph.operators[multiply].outputs[0])
                yield multiply, (Place("silu", int(operator.inputs[0]), post), [position, multiply])
            continue
        single = single_operator_activation(name, operator.builtinOptions)
        if single is not None:
            yield position, (Place(single, int(operator.inputs[0]), int(operator.outputs[0])), [position])
        elif _can_fuse(index, position):
            fused = fused_name(_fused(operator))
            if fused not in (None, "identity"):
                yield position, (Place(str(fused), -1, int(operator.outputs[0]), producer=operator), [])


def silu_multiply(index: GraphIndex, position: int) -> int | None:
    """Returns the position of the MUL that makes a LOGISTIC a SiLU, or None."""
    logistic = index.subgraph.operators[position]
    pre, gate = int(logistic.inputs[0]), int(logistic.outputs[0])
    readers = index.readers[gate]
    if len(readers) != 1 or gate in index.outputs or index.names[readers[0]] != "MUL":
        return None
    multiply = index.subgraph.operators[readers[0]]
    if {int(tensor) for tensor in multiply.inputs} != {pre, gate} or fused_name(_fused(multiply)) is None:
        return None
    return readers[0]


def _fused(operator: Any) -> int:
    """Returns the code of the activation that an operator has fused, 0 for none."""
    return getattr(operator.builtinOptions, "fusedActivationFunction", 0) or 0


def _second_place(index: GraphIndex, silu: Place, activation: str) -> Place:
    """Takes the ReLU that the multiplication of a SiLU has fused for a place of its own, behind the SiLU's."""
    tensors, (logistic,) = index.subgraph.tensors, (n for n in index.readers[silu.pre] if index.names[n] == "LOGISTIC")
    between = copy.copy(tensors[silu.post])
    gate = tensors[int(index.subgraph.operators[logistic].outputs[0])].name or b""
    between.name = gate.removesuffix(GATE) if gate.endswith(GATE) else (between.name or b"") + b"/pre"
    tensors.append(between)
    second = Place(activation, len(tensors) - 1, silu.post, silu, not is_quantized(between))
    silu.post = second.pre
    return second


def _can_fuse(index: GraphIndex, position: int) -> bool:
    """Whether the converter fuses a ReLU into an operator."""
    inputs = index.subgraph.operators[position].inputs
    with_bias = index.names[position] == "TRANSPOSE_CONV" and len(inputs) > 3 and inputs[3] >= 0
    return with_bias or index.names[position] in FUSING


def _unfuse(subgraph: Any, operator: Any, place: Place) -> None:
    """Gives a fused operator an output of its own in front of its activation."""
    before = copy.copy(subgraph.tensors[place.post])
    before.name = (before.name or b"") + b"/pre"
    subgraph.tensors.append(before)
    operator.builtinOptions = copy.copy(operator.builtinOptions)
    operator.builtinOptions.fusedActivationFunction = schema().ActivationFunctionType.NONE
    operator.outputs = np.asarray([len(subgraph.tensors) - 1], np.int32)
    place.pre = len(subgraph.tensors) - 1
    place.producer = operator
    place.pre_known = not is_quantized(before)


def _fusing_producer(index: GraphIndex, makers: dict[int, Any], place: Place, own: set[int]) -> Any:
    """Returns the operator or place that can take a fused ReLU; looks through a RESHAPE, as the converter does."""
    tensor, readers = place.pre, own
    while index.private(tensor, readers) and tensor in index.writer:
        position = index.writer[tensor]
        if isinstance(makers[position], Place):
            return makers[position]
        if _can_fuse(index, position) and not _keeps_scale(index, position):
            options = index.subgraph.operators[position].builtinOptions
            return makers[position] if options is not None and not _fused(makers[position]) else None
        if index.names[position] != "RESHAPE":
            return None
        tensor, readers = int(index.subgraph.operators[position].inputs[0]), {position}
    return None


def _keeps_scale(index: GraphIndex, position: int) -> bool:
    """Whether an operator's output has its input's scale: a quantized pooling, whose output cannot be rescaled."""
    output = index.subgraph.tensors[int(index.subgraph.operators[position].outputs[0])]
    return index.names[position] in ("MAX_POOL_2D", "AVERAGE_POOL_2D") and is_quantized(output)


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
