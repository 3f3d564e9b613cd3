"""Separation: a model in which the activation of every site is a layer of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_actnas import core
from keras_actnas.surgery.activations import activation_like, is_argument_layer
from keras_actnas.surgery.copying import Rewrite, copy_model
from keras_actnas.surgery.recreate import recreate
from keras_actnas.surgery.sites import Placement, placements, select

NameOf = Callable[[str], str]


def separate_activations(
    model: keras.Model,
    name_of: NameOf | None = None,
    activation: str | None = None,
    include: Sequence[str] = (),
    sites: Sequence[str] | None = None,
) -> keras.Model:
    """Returns a copy of a model in which the activation of every site is a separate layer.

    `Conv2D(activation="relu")` becomes a `Conv2D` without activation and an `Activation("relu")` layer right behind it.
    Each site has exactly one activation layer; one whose layer is called several times is called as often. Everything
    else is as in `replace_activations`; if an output of the model is a layer that is split, that output is named after
    the new layer. The copy is meant for inference: the activity regularizer of a layer that is split is dropped.

    Args:
      model: A functional or Sequential model.
      name_of: Gives the name of a site's activation layer; each must be different. By default a separate layer
        keeps its name, and one split off from layer `conv` is `conv_activation`.
      activation: Activation that every site gets; by default each keeps its own, and the outputs are the same.
      include: As in `activation_sites`.
      sites: Names of the sites to separate, the others stay as they are; None for all.

    Raises:
      InputError: As for `replace_activations`, `sites` names a site that the model does not have, or `name_of` returns
        a name twice or one that Keras does not allow.

    >>> inputs = keras.Input((8, 8, 3))
    >>> model = keras.Model(inputs, keras.layers.Conv2D(4, 3, activation="relu", name="stem")(inputs))
    >>> carrier = separate_activations(model, name_of=lambda site: f"site-{site}", activation="silu")
    >>> [layer.name for layer in carrier.layers[1:]]
    ['stem', 'site-stem']
    """
    activation = None if activation is None else core.canonical_name(activation)
    placed = select(placements(model, include), sites)
    names = _layer_names(placed, name_of)
    by_layer = {id(placement.layer): placement for placement in placed}

    def instead(layer: Any) -> Any:
        if id(layer) not in by_layer:
            return None
        if is_argument_layer(layer):
            return _without_activation(layer)
        if activation is None:
            return recreate(layer, lambda config: {**config, "name": names[id(layer)]})
        return _layer(by_layer[id(layer)], names[id(layer)], activation)

    def after(layer: Any) -> Any:
        if id(layer) in by_layer and is_argument_layer(layer):
            return _layer(by_layer[id(layer)], names[id(layer)], activation)
        return None

    return copy_model(model, Rewrite(instead=instead, after=after))


def _layer(placement: Placement, name: str, activation: str | None) -> Any:
    site = placement.site
    return activation_like(activation or site.activation, name, like=placement.layer, rank=len(site.shape) + 1)


def _without_activation(layer: Any) -> Any:
    # Left in place, a penalty on the layer's output would fall on what comes before the activation.
    return recreate(layer, lambda config: {**config, "activation": "linear", "activity_regularizer": None})


def _layer_names(placed: list[Placement], name_of: NameOf | None) -> dict[int, str]:
    names = {}
    for placement in placed:
        layer = placement.layer
        own = f"{layer.name}_activation" if is_argument_layer(layer) else layer.name
        names[id(layer)] = own if name_of is None else name_of(placement.site.name)
    if name_of is None:
        return names
    given = list(names.values())
    for name in given:
        if not isinstance(name, str) or not name or "/" in name or given.count(name) > 1:
            raise core.InputError(
                "Expected `name_of` to return a different layer name, without '/', for every site. "
                f"Received: {name!r}, {given.count(name)} times."
            )
    return names
