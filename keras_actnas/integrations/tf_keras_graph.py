"""A functional Keras 3 model rebuilt in Keras 2 (`tf_keras`), layer by layer, with its weights."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any

import keras

from keras_actnas.core.errors import InputError
from keras_actnas.integrations.tf_keras_kinds import rebuild
from keras_actnas.integrations.tf_keras_modules import tf_keras
from keras_actnas.surgery.graph import Graph, is_graph_model, producer
from keras_actnas.surgery.sites import placements

_MENDS = {
    "ACON": "surgery.fold_acon",
    "ACONA": "surgery.fold_acon",
    "ACONB": "surgery.fold_acon",
    "ACONC": "surgery.fold_acon",
    "WeightedPEA": "surgery.strip_pea",
    "StochasticPEA": "surgery.strip_pea",
    "AFRB": "surgery.collapse_afrb",
    "AFRBPart": "surgery.collapse_afrb",
    "PartialActivation": "surgery.restructure_linear",
}


def to_tf_keras(model: keras.Model) -> Any:
    """Returns a Keras 3 model as a `tf_keras.Model` with the same outputs, to within rounding.

    Layers keep their names; an activation that was an `activation=` argument is a layer of its own, nested models
    become part of the one graph, and a layer without weights that is called several times is several layers. The
    model is float32, not compiled, and shares nothing with the original. Known are the layers that the networks of
    `keras_actnas.models` and the convolutional networks of `keras.applications` are made of.

    Args:
      model: A functional or Sequential model with images of shape (height, width, channels) as inputs.

    Raises:
      InputError: The model is not functional, or has layers that are not known, all of which the message names, with
        the function that takes ACON, PEA and AFRB layers out.
      MissingDependencyError: `tf_keras` is not installed.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="relu", name="fc")])
    >>> [layer.name for layer in to_tf_keras(model).layers[1:]]
    ['fc', 'fc_activation']
    """
    return _rebuild(model)[0]


def layers_of_sites(model: keras.Model) -> dict[str, list[str]]:
    """Returns site -> names of the layers that apply its activation in `to_tf_keras(model)`, one for each call.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="relu", name="fc")])
    >>> layers_of_sites(model)
    {'fc': ['fc_activation']}
    """
    names = _rebuild(model)[1]
    return {placement.site.name: names[id(placement.layer)] for placement in placements(model)}


def _rebuild(model: keras.Model) -> tuple[Any, dict[int, list[str]]]:
    """Returns the rebuilt model, and for each layer of the original, by `id`, the last layer of each of its calls."""
    graph = Graph(model)
    _check_known(graph)
    inputs = [tf_keras().Input(tuple(tensor.shape[1:]), name=_input_name(tensor)) for tensor in model.inputs]
    rebuilding = _Rebuilding()
    outputs = rebuilding.apply(model, inputs)
    structure = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    rebuilt = tf_keras().Model(inputs, keras.tree.pack_sequence_as(structure, outputs), name=model.name)
    return rebuilt, rebuilding.last_layers


class _Rebuilding:
    """One rebuilding: the layers made so far, so that weights which are shared stay shared."""

    def __init__(self) -> None:
        self.last_layers: dict[int, list[str]] = collections.defaultdict(list)
        """For each operation, by `id`, the name of the last layer of each of its calls."""
        self._names: collections.Counter[str] = collections.Counter()
        self._shared: dict[int, Any] = {}

    def apply(self, model: Any, inputs: list[Any]) -> list[Any]:
        """Applies a model's layers to tensors of Keras 2; returns its outputs, flat."""
        tensors = {id(old): new for old, new in zip(model.inputs, inputs, strict=True)}
        for call in calls_in_order(model.outputs):
            if all(id(tensor) in tensors for tensor in call.outputs):
                continue
            for old, new in zip(call.outputs, self._call(call, tensors), strict=True):
                tensors[id(old)] = new
        return [tensors[id(tensor)] for tensor in model.outputs]

    def _call(self, call: Any, tensors: dict[int, Any]) -> list[Any]:
        operation = call.operation
        if is_graph_model(operation):
            return self.apply(operation, [tensors[id(tensor)] for tensor in call.input_tensors])
        args, kwargs = keras.tree.map_structure(
            lambda value: tensors[id(value)] if isinstance(value, keras.KerasTensor) else value,
            (call.arguments.args, call.arguments.kwargs),
        )
        if isinstance(operation, keras.Layer):
            kwargs = {}  # `training` and `mask`, which the caller of the new model decides.
        results = keras.tree.flatten(self._layer(operation)(*args, *kwargs.values()))
        self.last_layers[id(operation)].append(results[0]._keras_history.layer.name)
        return results

    def _layer(self, operation: Any) -> Any:
        shared = isinstance(operation, keras.Layer) and bool(operation.weights)
        if shared and id(operation) in self._shared:
            return self._shared[id(operation)]
        layer = rebuild(operation, self._new_name(operation.name))
        if shared:
            self._shared[id(operation)] = layer
        return layer

    def _new_name(self, name: str) -> str:
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}_again{self._names[name] - 1}"


def calls_in_order(outputs: list[Any]) -> Iterator[Any]:
    """Yields the calls that tensors depend on, each behind those that it reads from."""
    done: set[int] = set()
    waiting = [(producer(tensor), False) for tensor in reversed(outputs)]
    while waiting:
        call, ready = waiting.pop()
        if id(call) in done:
            continue
        if ready:
            done.add(id(call))
            yield call
        else:
            waiting.append((call, True))
            waiting.extend((producer(tensor), False) for tensor in reversed(call.input_tensors))


def _check_known(graph: Graph) -> None:
    """Raises `InputError` that names every layer which has no counterpart."""
    unknown = list(dict.fromkeys(_unknown(graph)))
    if not unknown:
        return
    mends = sorted({_MENDS[kind] for _, kind in unknown if kind in _MENDS})
    mend = f" Apply {' and '.join(mends)} first, for the plain graph that is deployed." if mends else ""
    named = ", ".join(f"{name!r} of type {kind}" for name, kind in unknown[:8])
    more = f", and {len(unknown) - 8} more" if len(unknown) > 8 else ""
    raise InputError(f"Expected layers that Keras 2 has as well. Received: {named}{more}.{mend}")


def _unknown(graph: Graph) -> Iterator[tuple[str, str]]:
    for operation in graph.operations:
        if is_graph_model(operation):
            yield from _unknown(Graph(operation))
        elif not isinstance(operation, keras.layers.InputLayer) and rebuild(operation, operation.name) is None:
            yield operation.name, type(operation).__name__


def _input_name(tensor: Any) -> str:
    name: str = tensor._keras_history.operation.name
    return name
