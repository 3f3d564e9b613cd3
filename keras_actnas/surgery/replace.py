"""Replacement: a model with other activations, by name or as layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_actnas import core
from keras_actnas.surgery.activations import activation_like, argument, is_argument_layer
from keras_actnas.surgery.copying import Rewrite, copy_model
from keras_actnas.surgery.recreate import recreate
from keras_actnas.surgery.sites import Placement, placements


def replace_activations(model: keras.Model, assignment: Mapping[str, str], include: Sequence[str] = ()) -> keras.Model:
    """Returns a copy of a model with the activations of an assignment.

    Layer names, the structure of inputs and outputs, weights, dtype policies and trainable flags are those of `model`,
    which stays as it is. The copy is a plain `keras.Model` or `keras.Sequential` of Keras's own activations: it is
    saved and loaded without this package (if the model's other layers can). It is not compiled, even if `model` is.

    A layer with an `activation=` argument stays one layer. A site that is assigned the activation it has keeps its
    layer exactly. `leaky_relu` has a slope of `core.LEAKY_RELU_SLOPE`, `gelu` is the exact one, `prelu` starts at a
    slope of 0.25 for each channel and needs a separate layer.

    Exchanging activations of a trained network without training it further changes what it computes: fine-tune it.

    Args:
      model: A functional or Sequential model.
      assignment: Site to activation name; sites that are left out keep their activation.
      include: As in `activation_sites`: activations, such as `("identity",)`, that make a layer a site, too.

    Raises:
      InputError: The model is not functional, the assignment names a site that the model does not have or an unknown
        activation, or `prelu` is assigned to an `activation=` argument.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="silu", name="fc")])
    >>> replace_activations(model, {"fc": "relu"}).get_layer("fc").activation.__name__
    'relu'
    """
    assignment = assignment if isinstance(assignment, core.Assignment) else core.Assignment(assignment)
    placed = {placement.site.name: placement for placement in placements(model, include)}
    core.Assignment((name, placement.site.activation) for name, placement in placed.items()).check_sites(assignment)
    changed = {
        id(placement.layer): (placement, assignment[name])
        for name, placement in placed.items()
        if assignment.get(name, placement.site.activation) != placement.site.activation
    }

    def instead(layer: Any) -> Any:
        return with_activation(*changed[id(layer)]) if id(layer) in changed else None

    return copy_model(model, Rewrite(instead=instead))


def with_activation(placement: Placement, activation: str) -> Any:
    """Returns a new layer that does what a site's layer does, with another activation."""
    layer = placement.layer
    if not is_argument_layer(layer):
        return activation_like(activation, layer.name, like=layer, rank=len(placement.site.shape) + 1)
    value = argument(activation, layer)
    return recreate(layer, lambda config: {**config, "activation": value})


def with_layer(layer: Any, make: Callable[..., keras.Layer]) -> Any:
    """Returns a new layer that does what a site's layer does, with an activation that is a layer of its own kind.

    Args:
      layer: An activation layer, or a layer with an `activation=` argument.
      make: Called with `name`, `dtype` and `trainable`; returns the activation.
    """
    if not is_argument_layer(layer):
        return make(name=layer.name, dtype=layer.dtype_policy, trainable=layer.trainable)
    activation = make(name=f"{layer.name}_activation", dtype=layer.dtype_policy, trainable=layer.trainable)
    return recreate(layer, lambda config: {**config, "activation": activation})
