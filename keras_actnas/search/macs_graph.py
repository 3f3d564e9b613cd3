"""Multiply-accumulates of a traced TensorFlow graph, from the shapes of its operations."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.search.graph_products import FOREIGN, PRODUCTS
from keras_actnas.search.loops import count_rounds

Key = tuple[Any, str]
"""An operation: its graph, and its name there."""

Counts = collections.Counter[int]
"""Number of an owner -> MACs. What belongs to no owner counts for number 0, the model itself."""


def graph_macs(graph: Any, owners: Mapping[Key, int], path_of: Callable[[int], str]) -> Counts:
    """Returns the MACs of one run of a graph, by owner.

    Counts what depends on an input of the graph and leads to an output: the rest is computed when the graph is
    converted, or not at all.

    Args:
      graph: A function's graph with static shapes.
      owners: Operation -> number of its owner.
      path_of: Number of an owner -> what to call it in an error.

    Raises:
      InputError: An operation's MACs cannot be told.
    """
    captured = {tensor.name for _, tensor in graph.captures}
    return _Walk(owners, path_of).count(graph, [tensor.name not in captured for tensor in graph.inputs], owner=0)


def _is_data(tensor: Any) -> bool:
    """Whether an input of a graph is no variable: variables are captured as handles."""
    return tensor.dtype.name != "resource"


class _Walk:
    """Walks a graph and those that it calls."""

    def __init__(self, owners: Mapping[Key, int], path_of: Callable[[int], str]) -> None:
        self._owners = owners
        self._path_of = path_of

    def count(self, graph: Any, varying: list[bool], owner: int) -> Counts:
        """Counts one graph.

        Args:
          graph: The graph.
          varying: Which of its inputs depend on the inputs of the model.
          owner: To whom operations belong that no layer's call made.
        """
        known = {tensor.name for tensor, varies in zip(graph.inputs, varying, strict=True) if varies}
        needed = _needed(graph)
        total: Counts = collections.Counter()
        for operation in graph.get_operations():
            inputs = [tensor.name in known for tensor in operation.inputs]
            if not any(inputs):
                continue
            known.update(tensor.name for tensor in operation.outputs)
            if operation.name in needed:
                number = self._owners.get((graph, operation.name), owner)
                total.update(self._operation(operation, inputs, number))
        return total

    def _operation(self, operation: Any, varying: list[bool], owner: int) -> Counts:
        where = f"{self._path_of(owner)!r}"
        if operation.type in FOREIGN:
            raise InputError(
                f"Expected operations whose multiply-accumulates can be told. Received: {operation.type} in {where}."
            )
        if operation.type in PRODUCTS:
            macs = PRODUCTS[operation.type](operation)
            if macs is None:
                shapes = ", ".join(str(tensor.shape) for tensor in (*operation.inputs, *operation.outputs))
                raise InputError(
                    f"Expected shapes that do not depend on data. Received: {operation.type} of {shapes} in {where}."
                )
            return collections.Counter({owner: macs})
        if operation.type in ("While", "StatelessWhile"):
            return self._loop(operation, owner)
        bodies = [body for attribute in _functions(operation) for body in _called(operation, attribute)]
        if operation.type in ("If", "StatelessIf", "Case", "StatelessCase"):
            branches = [self.count(body, varying[1:], owner) for body in bodies]
            return max(branches, key=lambda counts: counts.total())
        total: Counts = collections.Counter()
        for body in bodies:
            # Only a plain call hands its inputs on as they are.
            plain = len(varying) == len(body.inputs)
            total.update(self.count(body, varying if plain else [_is_data(tensor) for tensor in body.inputs], owner))
        return total

    def _loop(self, operation: Any, owner: int) -> Counts:
        (body,), (condition,) = _called(operation, "body"), _called(operation, "cond")
        counts = self.count(body, [_is_data(tensor) for tensor in body.inputs], owner)
        if not counts.total():
            return counts
        rounds = count_rounds(Scalars(condition), Scalars(body), [_start_value(tensor) for tensor in operation.inputs])
        if rounds is None:
            raise InputError(
                "Expected loops whose number of rounds is known before they run. "
                f"Received: one in {self._path_of(owner)!r} that runs as often as its data say."
            )
        return collections.Counter({number: macs * rounds for number, macs in counts.items()})


def _needed(graph: Any) -> set[str]:
    """Returns the names of the operations that the outputs of a graph depend on."""
    waiting = [tensor.op for tensor in graph.outputs]
    seen: set[str] = set()
    while waiting:
        operation = waiting.pop()
        if operation.name not in seen:
            seen.add(operation.name)
            waiting.extend(tensor.op for tensor in operation.inputs)
    return seen


def _functions(operation: Any) -> list[str]:
    """Returns the names of the attributes that hold a function, or a list of them."""
    return [attribute.name for attribute in operation.op_def.attr if attribute.type in ("func", "list(func)")]


def _called(operation: Any, attribute: str) -> list[Any]:
    """Returns the graphs of the functions that an attribute holds."""
    value = operation.get_attr(attribute)
    functions = value if isinstance(value, (list, tuple)) else [value]
    return [operation.graph._get_function(function.name).graph for function in functions]


def _start_value(tensor: Any) -> Any:
    """Returns the number that a tensor holds if it depends on no input, else None."""
    import tensorflow as tf

    if tensor.shape.rank != 0 or not (tensor.dtype.is_integer or tensor.dtype.is_bool):
        return None
    with tf.compat.v1.Session(graph=tensor.graph) as session:
        try:
            return session.run(tensor).item()
        except tf.errors.OpError:  # An input that it depends on has no value.
            return None


class Scalars:
    """A TensorFlow graph's single numbers, for `count_rounds`."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self.inputs = [tensor.name for tensor in graph.inputs]
        self.outputs = [tensor.name for tensor in graph.outputs]

    def constant(self, tensor: str) -> np.ndarray | None:
        """Returns the value of a constant, also of one that was computed from static shapes."""
        import tensorflow as tf

        return tf.get_static_value(self._graph.get_tensor_by_name(tensor))

    def producer(self, tensor: str) -> tuple[str, list[str]] | None:
        """Returns the type and the inputs of the operation that computes a tensor."""
        operation = self._graph.get_tensor_by_name(tensor).op
        return (operation.type, [one.name for one in operation.inputs]) if len(operation.outputs) == 1 else None
