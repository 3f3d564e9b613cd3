"""A converted network whose activations can be exchanged in the .tflite itself, in a fraction of a second."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.files import write_atomically
from keras_actnas.core.sites import Site
from keras_actnas.export.activation_ops import Step, fused_code, steps
from keras_actnas.export.graph_scan import Place, is_quantized, read_site_tensors, scan
from keras_actnas.export.schema import operator_names, pack_model, read_model, schema


class TFLiteNetwork:
    """One .tflite, read once, from which the .tflite of any assignment is made by editing the graph.

    The edited graph is the one that converting the rebuilt Keras model gives: ReLU and ReLU6 become the fused
    activation of the operator before them where the converter would fuse them, SiLU is LOGISTIC and MUL, the others
    are one operator. Made by `export.to_editable`, the file knows its sites by name; in any other .tflite every
    activation that is found is a site, named by its tensor.

    Attributes:
      reference: The assignment that the file itself has.
      sites: The sites in the order of execution, with the shapes of their outputs.

    Raises:
      InputError: The file is not a whole .tflite, has dynamic shapes, or has no activation to swap.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes) -> None:
        self._name = "the given bytes" if isinstance(source, bytes) else str(source)
        self._model = read_model(source)
        self._subgraph = self._model.subgraphs[0]
        _check_static(self._subgraph, self._name)
        self._skeleton = scan(self._model, self._subgraph)
        self._name_places()
        places = [item for item in self._skeleton if isinstance(item, Place) and item.site]
        if not places:
            raise InputError(f"Expected a network with activations to swap. Received: {self._name}, which has none.")
        first = {place.site: place for place in reversed(places)}
        order = dict.fromkeys(place.site for place in places)
        self.reference = Assignment((site, first[site].activation) for site in order)
        self.sites = [Site(site, first[site].activation, self._shape(first[site].post)) for site in order]

    def edit(self, assignment: Mapping[str, str]) -> bytes:
        """Returns the .tflite of an assignment.

        Args:
          assignment: Site -> activation; sites that it does not name keep the file's activation.

        Raises:
          InputError: A site or an activation is unknown, or an int8 graph lacks what the edit needs.
        """
        wanted = self.reference.with_swaps(assignment)
        return pack_model(_GraphBuilder(self._model, self._skeleton, wanted).build())

    def save(self, path: str | os.PathLike[str], assignment: Mapping[str, str]) -> str:
        """Writes the .tflite of an assignment; returns the SHA-256 of its bytes."""
        data = self.edit(assignment)
        write_atomically(path, data)
        return hashlib.sha256(data).hexdigest()

    def _name_places(self) -> None:
        """Gives every place its site: from the metadata, or else from the name of its tensor."""
        places = [item for item in self._skeleton if isinstance(item, Place)]
        listed = read_site_tensors(self._model)
        if listed is not None:
            site_of = {tensor: site for site, tensors in listed.items() for tensor in tensors}
            for place in places:
                place.site = site_of.get(self._tensor_name(place.post), "")
            return
        seen: set[str] = set()
        for place in places:
            name = base = self._tensor_name(place.post).split(";")[0]
            repeat = 1
            while name in seen:
                repeat += 1
                name = f"{base}#{repeat}"
            seen.add(name)
            place.site = "" if self._is_hard_sigmoid(place) else name

    def _is_hard_sigmoid(self, place: Place) -> bool:
        """Whether a ReLU6 is the middle of relu6(x + 3) / 6, a gate and not an activation."""
        if place.activation != "relu6":
            return False
        readers = [item for item in self._skeleton if not isinstance(item, Place) and place.post in item.inputs]
        if len(readers) != 1 or len(readers[0].inputs) != 2:
            return False
        other = next((int(tensor) for tensor in readers[0].inputs if tensor != place.post), place.post)
        data = self._model.buffers[self._subgraph.tensors[other].buffer].data
        return data is not None and len(data) == 4 and abs(float(np.frombuffer(data, np.float32)[0]) - 1 / 6) < 1e-4

    def _tensor_name(self, tensor: int) -> str:
        return (self._subgraph.tensors[tensor].name or b"").decode()

    def _shape(self, tensor: int) -> tuple[int, ...]:
        shape = self._subgraph.tensors[tensor].shape
        return tuple(int(size) for size in shape[1:]) if shape is not None else ()


def _check_static(subgraph: Any, name: str) -> None:
    for tensor in subgraph.tensors:
        signature = tensor.shapeSignature
        if signature is not None and len(signature) and np.min(signature) < 0:
            shape = [int(size) for size in signature]
            raise InputError(
                f"Expected a .tflite with static shapes. Received: {name}, whose tensor "
                f"{(tensor.name or b'').decode()!r} has shape {shape}. Convert it with a fixed batch of 1 "
                "(`keras_actnas.export.to_tflite` does)."
            )


class _GraphBuilder:
    """Fills a skeleton with the activations of one assignment; the model that it is given stays as it is."""

    def __init__(self, model: Any, skeleton: list[Any], assignment: Assignment) -> None:
        self._skeleton = skeleton
        self._assignment = assignment
        self.model = copy.copy(model)
        self.model.operatorCodes = list(model.operatorCodes)
        self._subgraph = copy.copy(model.subgraphs[0])
        self._tensors = list(self._subgraph.tensors)
        self._alias: dict[int, int] = {}
        self._copies: dict[int, Any] = {}

    def build(self) -> Any:
        operators: list[Any] = []
        for item in self._skeleton:
            if isinstance(item, Place):
                operators.extend(self._activate(item))
            else:
                operators.append(self._writable(item))
        self._subgraph.operators = operators
        self._compact()
        self.model.subgraphs = [self._subgraph, *self.model.subgraphs[1:]]
        return self.model

    def _writable(self, operator: Any) -> Any:
        """Returns this build's own copy of a skeleton operator."""
        if id(operator) not in self._copies:
            self._copies[id(operator)] = copy.copy(operator)
        return self._copies[id(operator)]

    def _activate(self, place: Place) -> list[Any]:
        activation = self._assignment[place.site] if place.site else place.activation
        code = fused_code(activation)
        if activation == "identity":
            self._alias[place.post] = place.pre
            return []
        if code is not None and place.producer is not None:
            producer = self._writable(place.producer)
            producer.builtinOptions = copy.copy(producer.builtinOptions)
            producer.builtinOptions.fusedActivationFunction = code
            self._alias[place.pre] = place.post
            return []
        if not place.pre_known:
            raise InputError(
                f"Expected a quantized network whose activation at {place.site!r} is not fused, since a fused one "
                f"hides the range of its input. Received: {place.activation} fused. Convert it with SiLU there first."
            )
        roles = {"pre": place.pre, "post": place.post}
        return [self._operator(step, roles, place.site) for step in steps(activation)]

    def _operator(self, step: Step, roles: dict[str, int], site: str) -> Any:
        post = self._tensors[roles["post"]]
        if step.output == "gate":
            gate = copy.copy(post)
            gate.name = f"{site or 'activation'}/gate".encode()
            gate.buffer = 0
            if is_quantized(post):
                gate.quantization = _sigmoid_range()
            roles["gate"] = len(self._tensors)
            self._tensors.append(gate)
        operator = schema().OperatorT()
        operator.opcodeIndex = self._code(step.operator, step.int8_version if is_quantized(post) else 1)
        operator.inputs = np.asarray([roles[role] for role in step.inputs], np.int32)
        operator.outputs = np.asarray([roles[step.output]], np.int32)
        operator.builtinOptionsType = step.options_type
        operator.builtinOptions = step.options
        return operator

    def _code(self, name: str, version: int) -> int:
        """Returns the index of an operator code, which is added when the model has none."""
        number = next(code for code, known in operator_names().items() if known == name)
        for position, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == number:
                return position
        code = schema().OperatorCodeT()
        code.builtinCode = number
        code.deprecatedBuiltinCode = min(number, schema().BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
        code.version = version
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def _compact(self) -> None:
        """Applies the aliases and drops the tensors that nothing uses any more."""
        count = len(self._tensors)
        target = np.arange(count + 1, dtype=np.int32)  # The last entry serves index -1, "no such input".
        target[-1] = -1
        for tensor in range(count):
            end = tensor
            while end in self._alias:
                end = self._alias[end]
            target[tensor] = end
        used = np.zeros(count, bool)
        subgraph = self._subgraph
        lists = [subgraph.inputs, subgraph.outputs]
        for operator in subgraph.operators:
            operator.inputs = target[np.asarray(operator.inputs, np.int32)]
            operator.outputs = target[np.asarray(operator.outputs, np.int32)]
            lists += [operator.inputs, operator.outputs]
        subgraph.inputs, subgraph.outputs = (target[np.asarray(tensors, np.int32)] for tensors in lists[:2])
        for tensors in (subgraph.inputs, subgraph.outputs, *lists[2:]):
            used[tensors[tensors >= 0]] = True
        place_of = np.cumsum(used, dtype=np.int32) - 1
        remap = np.append(np.where(used, place_of, -1), -1).astype(np.int32)
        for operator in subgraph.operators:
            operator.inputs, operator.outputs = remap[operator.inputs], remap[operator.outputs]
        subgraph.inputs, subgraph.outputs = remap[subgraph.inputs], remap[subgraph.outputs]
        subgraph.tensors = [tensor for tensor, keep in zip(self._tensors, used, strict=True) if keep]
        self._remap_signatures(remap[target[:count]])
        self._compact_codes()

    def _compact_codes(self) -> None:
        """Drops operator codes that are no longer used: a runtime refuses a code it lacks even then."""
        bodies = [self._subgraph, *self.model.subgraphs[1:]]
        used = sorted({operator.opcodeIndex for body in bodies for operator in body.operators})
        if len(bodies) > 1 or len(used) == len(self.model.operatorCodes):
            return  # Operators of other subgraphs are shared with the original model, so they keep their codes.
        for operator in self._subgraph.operators:
            operator.opcodeIndex = used.index(operator.opcodeIndex)
        self.model.operatorCodes = [self.model.operatorCodes[index] for index in used]

    def _remap_signatures(self, remap: np.ndarray) -> None:
        signatures = []
        for signature in self.model.signatureDefs or []:
            signature = copy.copy(signature)
            for field in ("inputs", "outputs"):
                entries = [copy.copy(entry) for entry in getattr(signature, field)]
                for entry in entries:
                    entry.tensorIndex = int(remap[entry.tensorIndex])
                setattr(signature, field, entries)
            signatures.append(signature)
        self.model.signatureDefs = signatures


def _sigmoid_range() -> Any:
    """Quantization of a sigmoid's int8 output, fixed by TFLite's quantization specification: 1/256, zero at -128."""
    quantization = schema().QuantizationParametersT()
    quantization.scale = np.asarray([1 / 256], np.float32)
    quantization.zeroPoint = np.asarray([-128], np.int64)
    return quantization
