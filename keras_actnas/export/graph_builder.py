"""Fills the skeleton of a TFLite graph with the activations of an assignment."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.export.activation_ops import Step, fused_code, steps
from keras_actnas.export.compaction import compact
from keras_actnas.export.graph_scan import GATE, Place, is_quantized
from keras_actnas.export.schema import operator_code, operator_name, schema


class GraphBuilder:
    """Builds the graph of one assignment; the model that it is given stays as it is."""

    def __init__(self, model: Any, skeleton: list[Any], assignment: Mapping[str, str]) -> None:
        self._skeleton = skeleton
        self._assignment = assignment
        self._model = copy.copy(model)
        self._model.operatorCodes = list(model.operatorCodes)
        self._tensors = list(model.subgraphs[0].tensors)
        self._alias: dict[int, int] = {}
        self._copies: dict[int, Any] = {}
        self._made: dict[int, list[Any]] = {}

    def build(self) -> Any:
        """Returns the `ModelT` of the assignment."""
        operators: list[Any] = []
        for item in self._skeleton:
            if isinstance(item, Place):
                self._made[id(item)] = self._activate(item)
                operators.extend(self._made[id(item)])
            else:
                operators.append(self._writable(item))
        subgraph = copy.copy(self._model.subgraphs[0])
        subgraph.operators, subgraph.tensors = operators, self._tensors
        self._model.subgraphs = [subgraph, *self._model.subgraphs[1:]]
        compact(self._model, [self._target(tensor) for tensor in range(len(self._tensors))])
        _rescale_reshapes(self._model, subgraph)
        _set_version_of_transposed(self._model, subgraph)
        return self._model

    def _writable(self, operator: Any) -> Any:
        """Returns this build's own copy of a skeleton operator."""
        if id(operator) not in self._copies:
            self._copies[id(operator)] = copy.copy(operator)
        return self._copies[id(operator)]

    def _chosen(self, place: Place) -> str:
        return self._assignment[place.site] if place.site else place.activation

    def _target(self, tensor: int) -> int:
        """Returns the tensor that stands for `tensor` in the graph that is built."""
        while tensor in self._alias:
            tensor = self._alias[tensor]
        return tensor

    def _activate(self, place: Place) -> list[Any]:
        activation, code = self._chosen(place), fused_code(self._chosen(place))
        before, fusing = self._behind(place)
        if activation == "identity":
            return self._leave_out(place, rescalable=fusing is not None)
        if code is not None and activation == before:  # Twice a ReLU is once a ReLU.
            return self._leave_out(place, rescalable=True)
        if code is not None and fusing is not None:
            self._fuse(place, fusing, code)
            return []
        if not place.pre_known:
            raise InputError(
                f"Expected a quantized network whose activation at {place.site!r} is not fused, since a fused one "
                f"hides the range of its input. Received: {place.activation} fused. Convert it with SiLU there first."
            )
        return self._operators(steps(activation), place)

    def _behind(self, place: Place) -> tuple[str, Any]:
        """Returns the activation that `place` directly follows, if any, and the operator that can fuse a ReLU there."""
        producer = place.producer
        while isinstance(producer, Place) and self._chosen(producer) == "identity":
            producer = producer.producer
        if isinstance(producer, Place):
            before = self._chosen(producer)
            # The last operator of a SiLU is a MUL, which fuses.
            return before, self._made[id(producer)][-1] if before == "silu" else None
        return "", None if producer is None else self._writable(producer)

    def _fuse(self, place: Place, operator: Any, code: int) -> None:
        operator.builtinOptions = copy.copy(operator.builtinOptions)
        operator.builtinOptions.fusedActivationFunction = code
        self._alias[self._target(place.pre)] = place.post
        output = self._target(int(operator.outputs[0]))
        if output != place.post:  # A RESHAPE lies between: the site's name goes to what holds its activation now.
            name = self._tensors[place.post].name or b""
            for tensor, new in ((output, name), (place.post, name + b"/reshaped")):
                self._tensors[tensor] = copy.copy(self._tensors[tensor])
                self._tensors[tensor].name = new

    def _leave_out(self, place: Place, rescalable: bool) -> list[Any]:
        """Joins the tensors before and after a place where nothing is computed.

        Args:
          place: The place.
          rescalable: Whether the operator that writes the tensor before can write with another range as well.
        """
        before, after = (self._tensors[self._target(tensor)] for tensor in (place.pre, place.post))
        if not is_quantized(after) or _same_range(before, after):
            self._alias[place.post] = place.pre
            return []
        if rescalable:
            # Readers count on the range after: a concatenation, say, wants one range for all that it joins.
            self._alias[self._target(place.pre)] = place.post
            return []
        return self._operators([Step("QUANTIZE", ("pre",), "post")], place)

    def _operators(self, sequence: Sequence[Step], place: Place) -> list[Any]:
        roles = {"pre": place.pre, "post": place.post}
        if any(step.output == "gate" for step in sequence):
            roles["gate"] = self._add_gate(place)
        return [self._operator(step, roles, place.site) for step in sequence]

    def _add_gate(self, place: Place) -> int:
        gate = copy.copy(self._tensors[place.post])
        gate.name = (gate.name or b"") + GATE
        gate.buffer = 0
        if is_quantized(gate):
            gate.quantization = _sigmoid_range()
        self._tensors.append(gate)
        return len(self._tensors) - 1

    def _operator(self, step: Step, roles: dict[str, int], site: str) -> Any:
        operator = schema().OperatorT()
        version = _version(step, self._tensors[roles["post"]], site)
        operator.opcodeIndex = operator_code(self._model, step.operator, version)
        operator.inputs = np.asarray([roles[role] for role in step.inputs], np.int32)
        operator.outputs = np.asarray([roles[step.output]], np.int32)
        operator.builtinOptionsType = step.options_type
        operator.builtinOptions = step.options
        return operator


def _version(step: Step, tensor: Any, site: str) -> int:
    """Returns the version of an operator that writes `tensor`.

    Raises:
      InputError: There is none for the tensor's type.
    """
    types = schema().TensorType
    if not is_quantized(tensor):
        return 1
    if tensor.type != types.INT8 or step.int8_version is None:
        kind = next(name for name, value in vars(types).items() if value == tensor.type).lower()
        raise InputError(
            f"Expected an activation that graph editing can put into an {kind} graph. "
            f"Received: {step.operator} at {site!r}."
        )
    return step.int8_version


def _same_range(first: Any, second: Any) -> bool:
    one, other = first.quantization, second.quantization
    return np.array_equal(one.scale, other.scale) and np.array_equal(one.zeroPoint, other.zeroPoint)


def _sigmoid_range() -> Any:
    """Quantization of a sigmoid's int8 output, fixed by TFLite's quantization specification: 1/256, zero at -128."""
    quantization = schema().QuantizationParametersT()
    quantization.scale = np.asarray([1 / 256], np.float32)
    quantization.zeroPoint = np.asarray([-128], np.int64)
    return quantization


def _rescale_reshapes(model: Any, subgraph: Any) -> None:
    """Gives what a quantized RESHAPE reads the range of what it writes, which a fusion before it may have changed."""
    for operator in reversed(subgraph.operators):
        if operator_name(model, operator) != "RESHAPE":
            continue
        written = subgraph.tensors[int(operator.outputs[0])]
        if is_quantized(written):
            read = copy.copy(subgraph.tensors[int(operator.inputs[0])])
            read.quantization = written.quantization
            subgraph.tensors[int(operator.inputs[0])] = read


def _set_version_of_transposed(model: Any, subgraph: Any) -> None:
    """Gives transposed convolutions, which share one operator code, the version that the converter gives them."""
    fused = [
        operator.builtinOptions.fusedActivationFunction
        for operator in subgraph.operators
        if operator_name(model, operator) == "TRANSPOSE_CONV"
    ]
    if fused:
        index = operator_code(model, "TRANSPOSE_CONV", 1)
        model.operatorCodes[index] = copy.copy(model.operatorCodes[index])
        # Version 4 can fuse an activation; 1 to 3 differ in types and in whether there is a bias.
        model.operatorCodes[index].version = 4 if any(fused) else min(model.operatorCodes[index].version, 3)
