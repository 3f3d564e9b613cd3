"""The graph of a functional model: which layer is called where, on what, and by whom its output is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from keras_actnas import core


def is_graph_model(layer: Any) -> bool:
    """Returns whether a layer is a model whose graph of layers is known: functional or Sequential."""
    return isinstance(layer, keras.Sequential) or (isinstance(layer, keras.Model) and isinstance(layer, keras.Function))


def check_graph_model(model: Any) -> None:
    """Raises `InputError` unless `model` is a functional or Sequential model that has been built."""
    if not is_graph_model(model):
        raise core.InputError(
            "Expected a functional or Sequential Keras model, whose graph of layers is known. "
            f"Received: {model!r} of type {type(model).__name__}. Rebuild a subclassed model functionally: "
            "`inputs = keras.Input(...)`, apply its layers, `keras.Model(inputs, outputs)`."
        )
    if isinstance(model, keras.Sequential) and getattr(model, "_functional", None) is None:
        raise core.InputError(
            "Expected a Sequential model whose input shape is known. "
            f"Received: {model.name!r}, which is not built; begin it with `keras.Input(shape)` or call `model.build`."
        )


class Graph:
    """The calls that lead from the inputs of a functional or Sequential model to its outputs.

    A layer keeps a record (a Keras node: `arguments`, `input_tensors`, `outputs`) of every call it ever had, in any
    model. This holds only the calls of one model; those inside of a nested model belong to the nested model's graph.

    >>> inputs = keras.Input((4,))
    >>> relu = keras.layers.ReLU(name="act")
    >>> graph = Graph(keras.Model(inputs, relu(relu(inputs) * 0.5)))
    >>> [operation.name for operation in graph.operations][1], len(graph.calls(relu))
    ('act', 2)

    Args:
      model: A built functional or Sequential model.

    Raises:
      InputError: The graph of `model` is not known.
    """

    def __init__(self, model: keras.Model) -> None:
        check_graph_model(model)
        sequential = isinstance(model, keras.Sequential)
        self.operations: list[Any] = list(model.layers if sequential else model.operations)
        """The layers and operations, in the order in which the model applies them."""
        self._calls = {id(call): call for call in _calls_behind(model.outputs)}
        self._readers: dict[int, list[Any]] = {}
        for call in self._calls.values():
            for tensor in call.input_tensors:
                self._readers.setdefault(id(tensor), []).append(call)

    def calls(self, operation: Any) -> list[Any]:
        """Returns the calls of a layer or operation in this model, the first one first."""
        return [call for call in operation._inbound_nodes if id(call) in self._calls]

    def readers(self, tensor: Any) -> list[Any]:
        """Returns the calls that read a tensor."""
        return self._readers.get(id(tensor), [])


def producer(tensor: Any) -> Any:
    """Returns the call that computed a symbolic tensor."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def _calls_behind(tensors: list[Any]) -> Iterator[Any]:
    """Yields every call that the tensors depend on, once each."""
    waiting = list(tensors)
    seen: set[int] = set()
    while waiting:
        call = producer(waiting.pop())
        if id(call) not in seen:
            seen.add(id(call))
            waiting.extend(call.input_tensors)
            yield call
