"""How ONNX spells each activation: to write it into a graph, and to find it there."""

from __future__ import annotations

import collections
import dataclasses
import importlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_actnas.core.activations import canonical_name, leaky_slope
from keras_actnas.core.errors import InputError, MissingDependencyError
from keras_actnas.export.activation_ops import SUPPORTED


@dataclasses.dataclass(frozen=True)
class Step:
    """One node of an activation.

    Attributes:
      operator: Its ONNX operator.
      inputs: What it reads: the role of a tensor ("pre" is the activation's input), or a scalar constant.
      output: The role of what it writes; "post" is the activation's output.
      attributes: Its attributes; None for the slope of a leaky ReLU.
    """

    operator: str
    inputs: tuple[str | float, ...]
    output: str
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Spelling:
    """Nodes that compute an activation, in order, and the first opset that has their operators."""

    activation: str
    steps: tuple[Step, ...]
    since: int = 1


def _single(operator: str, *constants: float, **attributes: Any) -> tuple[Step, ...]:
    return (Step(operator, ("pre", *constants), "post", attributes),)


NO_ACTIVATION = ""

# An activation is written as the first of its spellings that the opset has, and found in any of them. They are the ones
# that ONNX Runtime makes the most of (1.32, CPU): Relu, Clip, LeakyRelu and HardSwish become part of the convolution
# before them; Sigmoid and Mul become one QuickGelu; the nodes with Erf become one Gelu; Elu stays as it is.
SPELLINGS = (
    Spelling("relu", _single("Relu")),
    Spelling("silu", (Step("Sigmoid", ("pre",), "gate"), Step("Mul", ("pre", "gate"), "post"))),
    Spelling("relu6", _single("Clip", 0.0, 6.0)),
    Spelling("leaky_relu", _single("LeakyRelu", alpha=None)),
    Spelling("elu", _single("Elu", alpha=1.0)),
    # Behind an Identity, which runtimes leave out, a site keeps its place and its name.
    Spelling("identity", _single("Identity")),
    Spelling("hard_swish", _single("HardSwish"), since=14),
    Spelling(
        "hard_swish",
        (Step("HardSigmoid", ("pre",), "gate", {"alpha": 1 / 6, "beta": 0.5}), Step("Mul", ("pre", "gate"), "post")),
    ),
    Spelling("gelu", _single("Gelu", approximate="none"), since=20),
    Spelling(
        "gelu",
        (
            Step("Div", ("pre", math.sqrt(2)), "scaled"),
            Step("Erf", ("scaled",), "erf"),
            Step("Add", ("erf", 1.0), "gate"),
            Step("Mul", ("pre", "gate"), "double"),
            Step("Mul", ("double", 0.5), "post"),
        ),
    ),
    # What converters make of Keras's hard_swish, and of a hard sigmoid, which is a gate and no activation.
    Spelling(
        "hard_swish",
        (
            Step("Add", ("pre", 3.0), "shifted"),
            Step("Clip", ("shifted", 0.0, 6.0), "clipped"),
            Step("Mul", ("clipped", 1 / 6), "gate"),
            Step("Mul", ("pre", "gate"), "post"),
        ),
    ),
    Spelling(NO_ACTIVATION, (Step("Add", ("pre", 3.0), "shifted"), Step("Clip", ("shifted", 0.0, 6.0), "post"))),
)

_COMMUTATIVE = ("Add", "Mul")
_DEFAULTS = {
    ("Elu", "alpha"): 1.0,
    ("LeakyRelu", "alpha"): 0.01,
    ("HardSigmoid", "alpha"): 0.2,
    ("HardSigmoid", "beta"): 0.5,
    ("Gelu", "approximate"): b"none",
}


def import_onnx() -> Any:
    """Returns the module `onnx`.

    Raises:
      MissingDependencyError: It is not installed.
    """
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise MissingDependencyError("onnx", "onnx", "Editing of ONNX files") from error


def spell(activation: str, opset: int) -> tuple[Step, ...]:
    """Returns the nodes that compute an activation, in order.

    Args:
      activation: Canonical name.
      opset: Version of the ONNX operators in the file.

    Raises:
      InputError: ONNX graph editing has no spelling for this activation.

    >>> [step.operator for step in spell("silu", 18)], [step.operator for step in spell("hard_swish", 13)]
    (['Sigmoid', 'Mul'], ['HardSigmoid', 'Mul'])
    """
    slope = leaky_slope(activation)
    name = activation if slope is None else "leaky_relu"
    for spelling in SPELLINGS:
        if spelling.activation == name and spelling.since <= opset:
            if slope is None:
                return spelling.steps
            return tuple(dataclasses.replace(step, attributes={"alpha": slope}) for step in spelling.steps)
    raise InputError(
        f"Expected an activation that ONNX graph editing knows ({', '.join(SUPPORTED)}). Received: {activation!r}."
    )


@dataclasses.dataclass(frozen=True)
class Found:
    """An activation in a graph: its name, the tensors before and after it, and the positions of its nodes."""

    activation: str
    pre: str
    post: str
    positions: tuple[int, ...]


class GraphIndex:
    """Who writes and who reads each tensor of an ONNX graph."""

    def __init__(self, graph: Any) -> None:
        self.nodes = list(graph.node)
        self.outputs = {output.name for output in graph.output}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self.writer: dict[str, int] = {}
        self.readers: dict[str, set[int]] = collections.defaultdict(set)
        for position, node in enumerate(self.nodes):
            self.writer.update(dict.fromkeys(node.output, position))
            for tensor in read_tensors(node):
                self.readers[tensor].add(position)
            if node.op_type == "Constant":
                self._constants.update((node.output[0], item.t) for item in node.attribute if item.name == "value")

    def find(self, tensor: str, spellings: Sequence[Spelling] = SPELLINGS) -> Found | None:
        """Returns the activation that writes a tensor, in its longest spelling, or None."""
        for spelling in sorted(spellings, key=lambda spelling: -len(spelling.steps)):
            for roles in self._match(spelling.steps, {"post": tensor}):
                positions = tuple(self.writer[roles[step.output]] for step in spelling.steps)
                inner = {roles[step.output] for step in spelling.steps[:-1]}
                if all(self.readers[name] <= set(positions) and name not in self.outputs for name in inner):
                    return Found(self._activation(spelling, positions), roles["pre"], tensor, positions)
        return None

    def array(self, tensor: str) -> np.ndarray | None:
        """Returns the value of a constant, or None for a tensor that is computed."""
        constant = self._constants.get(tensor)
        return None if constant is None else import_onnx().numpy_helper.to_array(constant)

    def _match(self, steps: tuple[Step, ...], roles: dict[str, str]) -> Iterator[dict[str, str]]:
        """Yields role -> tensor for each way in which `steps` write what `roles` already names."""
        if not steps:
            yield roles
            return
        *before, step = steps
        position = self.writer.get(roles[step.output])
        if position is None or not _is_step(self.nodes[position], step):
            return
        inputs = list(self.nodes[position].input)
        for order in itertools.permutations(inputs) if step.operator in _COMMUTATIVE else [inputs]:
            bound = dict(roles)
            if all(self._binds(wanted, tensor, bound) for wanted, tensor in zip(step.inputs, order, strict=True)):
                yield from self._match(tuple(before), bound)

    def _binds(self, wanted: str | float, tensor: str, roles: dict[str, str]) -> bool:
        """Whether a tensor is the wanted constant, or can have the wanted role, which it then gets."""
        if isinstance(wanted, str):
            return roles.setdefault(wanted, tensor) == tensor
        value = self.array(tensor)
        return value is not None and value.size == 1 and bool(np.isclose(value, wanted, rtol=1e-3).all())

    def _activation(self, spelling: Spelling, positions: tuple[int, ...]) -> str:
        if spelling.activation != "leaky_relu":
            return spelling.activation
        return canonical_name(f"leaky_relu({_attribute(self.nodes[positions[0]], 'alpha'):.6g})")


def read_tensors(node: Any) -> Iterator[str]:
    """Yields the tensors that a node reads, also those that graphs inside of it, such as branches, may read."""
    yield from node.input
    for item in node.attribute:
        for graph in (item.g, *item.graphs):
            for inner in graph.node:
                yield from read_tensors(inner)
            yield from (output.name for output in graph.output)


def _is_step(node: Any, step: Step) -> bool:
    if node.op_type != step.operator or node.domain not in ("", "ai.onnx") or len(node.input) != len(step.inputs):
        return False
    for name, wanted in step.attributes.items():
        value = _attribute(node, name)
        if isinstance(wanted, str) and value != wanted.encode():
            return False
        if isinstance(wanted, float) and not np.isclose(value, wanted, rtol=1e-3):
            return False
    return True


def _attribute(node: Any, name: str) -> Any:
    for item in node.attribute:
        if item.name == name:
            return import_onnx().helper.get_attribute_value(item)
    return _DEFAULTS[node.op_type, name]
