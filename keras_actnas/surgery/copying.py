"""Copies of a functional model in which some layers are other ones."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_actnas import core
from keras_actnas.surgery.graph import check_graph_model, is_graph_model
from keras_actnas.surgery.recreate import ConfigChange, recreate

LayerChange = Callable[[Any], Any]
"""Takes a layer of the original and returns a new layer, or None for "nothing to do"."""


class Section:
    """Several layers that stand in for one: they become layers of the copy, not a model inside of it.

    Args:
      function: Takes the symbolic input of the layer that is replaced and returns its output, by way of the new layers.
        It is called as often as the layer was, and has to apply the same layers each time.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, inputs: Any, **_: Any) -> Any:
        """Applies the layers."""
        return self._function(inputs)


def _nothing(_: Any) -> None:
    return None


@dataclasses.dataclass(frozen=True)
class Rewrite:
    """What is different in a copy.

    Attributes:
      instead: The layer, or `Section` of layers, that stands in for a layer of the original; None for a faithful copy.
        Layers inside of nested models are asked for, too; nested models themselves are not.
      after: A layer that is applied to every output of a layer.
      config: Change of the configuration from which faithful copies are made.
      inputs: Change of the configuration (`batch_shape`, `dtype`, ...) of the model's inputs.
    """

    instead: LayerChange = _nothing
    after: LayerChange = _nothing
    config: ConfigChange | None = None
    inputs: ConfigChange | None = None


def copy_model(model: keras.Model, rewrite: Rewrite) -> keras.Model:
    """Returns a rewritten copy of a model: same names, structure, dtype policies, weights and trainable flags.

    The original is left as it is and shares nothing with the copy. The copy is a plain `keras.Model` or
    `keras.Sequential`, not compiled. A layer that takes the place of one of another class starts with its own weights.
    A Sequential model that gets a `Section` becomes a functional one.

    Raises:
      InputError: The model is not functional, or has a layer that cannot be recreated from its configuration.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> copy = copy_model(model, Rewrite(after=lambda layer: keras.layers.ReLU(name="new")))
    >>> copy.layers[-1].name, copy.layers[0] is model.layers[0]
    ('new', False)
    """
    check_graph_model(model)
    copier = _Copier(rewrite)
    new = copier.model(model, rewrite.inputs)
    for old, copied in copier.pairs.values():
        if isinstance(old, keras.Layer) and type(old) is type(copied) and not is_graph_model(old):
            _copy_weights(old, copied)
    copier.copy_flags(model, new)
    for _, copied in copier.pairs.values():
        _build_activation(copied)
    return new


def _build_activation(layer: Any) -> None:
    """Builds a layer that is the `activation=` of another: Keras itself does that when the model is first run."""
    activation = getattr(layer, "activation", None)
    if isinstance(activation, keras.Layer) and not activation.built and layer._inbound_nodes:
        activation.build(layer._inbound_nodes[0].outputs[0].shape)


class _Copier:
    """One copying: what has been copied so far, so that a shared layer stays shared."""

    def __init__(self, rewrite: Rewrite) -> None:
        self.rewrite = rewrite
        self.pairs: dict[int, tuple[Any, Any]] = {}
        self.followers: dict[int, Any] = {}

    def operation(self, old: Any) -> Any:
        """Returns the copy of a layer, an operation or a nested model."""
        if id(old) not in self.pairs:
            new = self.model(old) if is_graph_model(old) else self._single(old)
            self.pairs[id(old)] = (old, new)
        return self.pairs[id(old)][1]

    def _single(self, old: Any) -> Any:
        instead = follower = None
        if isinstance(old, keras.Layer):
            instead, follower = self.rewrite.instead(old), self.rewrite.after(old)
        new = recreate(old, self.rewrite.config) if instead is None else instead
        if follower is not None:
            self.followers[id(new)] = follower
        return new

    def model(self, old: keras.Model, inputs: ConfigChange | None = None) -> keras.Model:
        """Returns the copy of a functional or Sequential model."""
        check_graph_model(old)
        if isinstance(old, keras.Sequential):
            layers = [_new_input(old.inputs[0], inputs)]
            for layer in map(self.operation, old.layers):
                follower = self.followers.get(id(layer))
                layers += [layer] if follower is None else [layer, follower]
            if not any(isinstance(layer, Section) for layer in layers):
                return keras.Sequential(layers, name=old.name)
            output = functools.reduce(lambda tensor, layer: layer(tensor), layers)
            return keras.Model(layers[0], output, name=old.name)
        # A second model over the same layers, because `clone_model` compiles the copy of a model that is compiled.
        view = keras.Model(old.input, old.output, name=old.name)
        new_inputs = keras.tree.map_structure(lambda tensor: _new_input(tensor, inputs), old.input)
        return keras.models.clone_model(
            view, input_tensors=new_inputs, clone_function=self.operation, call_function=self._call
        )

    def _call(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = operation(*args, **kwargs)
        follower = self.followers.get(id(operation))
        return outputs if follower is None else follower(outputs)

    def copy_flags(self, old: Any, new: Any) -> None:
        """Gives `new` the trainable flags of `old`: outside in, because setting a model's flag sets its layers'."""
        if isinstance(new, Section):
            return
        if new.trainable != old.trainable:
            new.trainable = old.trainable
        if is_graph_model(old):
            for layer in old.layers:
                if id(layer) in self.pairs:
                    self.copy_flags(*self.pairs[id(layer)])
        elif type(old) is type(new):
            for old_weight, new_weight in _pairs(old, new):
                new_weight.trainable = old_weight.trainable


def _new_input(tensor: Any, change: ConfigChange | None) -> Any:
    """Returns a new model input like the one behind `tensor`; the layer's name counts, the tensor's may differ."""
    config = tensor._keras_history.operation.get_config()
    layer = keras.layers.InputLayer(**(change(config) if change else config))
    return layer.output


def _copy_weights(old: Any, new: Any) -> None:
    for old_weight, new_weight in _pairs(old, new):
        # By way of NumPy: the JAX trainer hands arrays over to a step for good, and two models must not share them.
        new_weight.assign(np.array(keras.ops.convert_to_numpy(old_weight)))
    if isinstance(new, keras.layers.Normalization) and new.built:
        new.finalize_state()  # It computes with values derived from its weights.


def _pairs(old: Any, new: Any) -> list[tuple[Any, Any]]:
    """Returns the weights of a layer with those of its copy, less those of an `activation=` that was exchanged."""
    exchanged = type(getattr(old, "activation", None)) is not type(getattr(new, "activation", None))
    old_weights, new_weights = (_own_weights(layer) if exchanged else layer.weights for layer in (old, new))
    if len(old_weights) != len(new_weights):
        raise core.InputError(
            "Expected a layer that its configuration recreates with all its weights. "
            f"Received: {old.name!r} of type {type(old).__name__}, which has {len(old_weights)} and its copy "
            f"{len(new_weights)}."
        )
    return list(zip(old_weights, new_weights, strict=True))


def _own_weights(layer: Any) -> list[Any]:
    activation = getattr(layer, "activation", None)
    others = {id(weight) for weight in activation.weights} if isinstance(activation, keras.Layer) else set()
    return [weight for weight in layer.weights if id(weight) not in others]
