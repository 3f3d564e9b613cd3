"""Counts the multiply-accumulates of a Keras model: traces it once and knows by which layer each operation was made."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_actnas.core.errors import InputError, MissingDependencyError
from keras_actnas.search.macs import LayerCount
from keras_actnas.search.macs_graph import Key, graph_macs
from keras_actnas.search.model_inputs import InputSpecs, input_specs
from keras_actnas.surgery.graph import is_graph_model

_EMPHASIS = re.compile(r"\x1b\[\d*m")
"""How Keras prints its errors in bold."""


@dataclasses.dataclass
class _Holder:
    """A layer, or an operation of a functional model, and what is inside of it.

    Attributes:
      path: Its name behind those of what it is in; the model itself has its own name.
      item: The layer or operation.
      inside: What it holds itself.
      shape: Shape of its first output, once it was called.
    """

    path: str
    item: Any
    inside: list[Any]
    shape: tuple[int | None, ...] | None = None


def keras_layers(model: Any, input_shape: Sequence[Any] | None = None) -> tuple[list[LayerCount], int]:
    """Returns the counts of a model's layers, and the number of its trainable parameters; errors as in `count_macs`."""
    if not isinstance(model, keras.Model):
        raise InputError(
            f"Expected a Keras model, or a .tflite as a path or bytes. Received: {type(model).__name__} {model!r}."
        )
    _check_backend()
    holders = _holders(model)
    macs = _trace(model, input_specs(model, input_shape), holders)
    counts = []
    seen: set[int] = set()
    for index, holder in enumerate(holders):
        parameters = sum(_size(weight) for weight in _own_weights(holder) if id(weight) not in seen)
        seen.update(id(weight) for weight in _own_weights(holder))
        leaf = not holder.inside and not isinstance(holder.item, keras.layers.InputLayer) and holder.shape is not None
        if leaf or parameters or macs[index]:
            kind = type(holder.item).__name__
            counts.append(LayerCount(holder.path, kind, holder.shape or (), parameters, macs[index]))
    return counts, sum(_size(weight) for weight in model.trainable_weights)


def _check_backend() -> None:
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"Expected the TensorFlow backend, on which MACs are counted. Received: {keras.backend.backend()!r}. "
            "Save the model as .keras and count it with KERAS_BACKEND=tensorflow."
        )


def _holders(model: keras.Model) -> list[_Holder]:
    """Returns the model and everything inside of it at any depth, each once, outer ones before inner ones."""
    result: list[_Holder] = []
    seen: set[int] = set()

    def visit(item: Any, path: str, prefix: str) -> None:
        seen.add(id(item))
        inside = _inside(item)
        result.append(_Holder(path, item, inside))
        for one in inside:
            if id(one) not in seen:
                visit(one, f"{prefix}{one.name}", f"{prefix}{one.name}/")

    visit(model, model.name, "")
    return result


def _inside(item: Any) -> list[Any]:
    """Returns the layers and operations that are directly inside of a layer."""
    if isinstance(item, keras.Sequential):
        return list(item.layers)
    found = list(item.operations) if is_graph_model(item) else []
    return list({id(one): one for one in (*found, *getattr(item, "_layers", ()))}.values())


def _own_weights(holder: _Holder) -> list[Any]:
    inner = {id(weight) for one in holder.inside for weight in getattr(one, "weights", ())}
    return [weight for weight in getattr(holder.item, "weights", ()) if id(weight) not in inner]


def _size(weight: Any) -> int:
    return math.prod(weight.shape)


def _trace(model: keras.Model, specs: InputSpecs, holders: list[_Holder]) -> collections.Counter[int]:
    """Returns index of a holder -> its MACs for one image."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingDependencyError("tensorflow", "tensorflow", "Counting MACs") from error
    owners: dict[Key, int] = {}
    function = tf.function(lambda inputs: model(inputs, training=False), autograph=False)
    inputs = keras.tree.map_structure(lambda spec: tf.TensorSpec(spec.shape, spec.dtype), specs.structure)
    try:
        # In this scope the model keeps no losses of the trace. On a GPU recurrent layers would become foreign code.
        with keras.StatelessScope(), tf.device("CPU"), _recording(holders, owners, tf.compat.v1.get_default_graph):
            graph = function.get_concrete_function(inputs).graph
    except Exception as error:
        shapes = ", ".join(str(tuple(spec.shape)) for spec in keras.tree.flatten(specs.structure))
        reason = " ".join(_EMPHASIS.sub("", str(error)).split())[:400]
        raise InputError(
            f"Expected a model that can be called on inputs of shape {shapes}. Received: {model.name!r}, which says: "
            f"{reason}"
        ) from error
    total = graph_macs(graph, owners, lambda index: holders[index].path)
    return collections.Counter({index: count // specs.batch for index, count in total.items()})


@contextlib.contextmanager
def _recording(holders: list[_Holder], owners: dict[Key, int], current_graph: Callable[[], Any]) -> Iterator[None]:
    """While this lasts, every operation in a graph is assigned to the innermost layer whose `call` makes it.

    Names would not tell: a layer's second call, and a layer of the same name in a nested model, look alike in them.
    """

    def record(index: int, call: Callable[..., Any]) -> Callable[..., Any]:
        # Some callers look at the arguments that a layer's `call` takes.
        @functools.wraps(call)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            graph = current_graph()
            first = len(graph.get_operations())
            outputs = call(*args, **kwargs)
            for operation in graph.get_operations()[first:]:
                owners.setdefault((graph, operation.name), index)
            tensors = [one for one in keras.tree.flatten(outputs) if hasattr(one, "shape")]
            if tensors and holders[index].shape is None:
                holders[index].shape = tuple(tensors[0].shape)[1:]
            return outputs

        return recorded

    with contextlib.ExitStack() as stack:
        for index, holder in enumerate(holders):
            # A layer with a quantized policy is called by the other name.
            for method in ("call", "quantized_call"):
                if hasattr(holder.item, method):
                    stack.enter_context(_replaced(holder.item, method, record(index, getattr(holder.item, method))))
        yield


@contextlib.contextmanager
def _replaced(item: Any, name: str, value: Any) -> Iterator[None]:
    """Gives one object another method for a while, past the object's own `__setattr__`, which would track it."""
    attributes = vars(item)
    kept = {name: attributes[name]} if name in attributes else {}
    attributes[name] = value
    try:
        yield
    finally:
        del attributes[name]
        attributes.update(kept)
