"""Sites: finding the activations of a Keras model."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_actnas import core
from keras_actnas.surgery.activations import activation_of
from keras_actnas.surgery.gates import is_gate
from keras_actnas.surgery.graph import Graph, is_graph_model

SWAPPABLE = (
    "relu",
    "relu6",
    "silu",
    "hard_swish",
    "leaky_relu",
    "gelu",
    "elu",
    "selu",
    "mish",
    "prelu",
    "softplus",
)
"""Activations that make a layer a site (a leaky ReLU with any slope). Others are heads and gates: see `include`."""


@dataclasses.dataclass(frozen=True)
class Placement:
    """A site and the Keras layer that holds it."""

    site: core.Site
    layer: Any


@dataclasses.dataclass(frozen=True)
class _Holder:
    """A layer that applies a named activation, before it is known whether its bare name is unambiguous."""

    layer: Any
    path: tuple[str, ...]
    activation: str
    shape: tuple[int | None, ...]
    gate: bool


def activation_sites(model: keras.Model, include: Sequence[str] = ()) -> list[core.Site]:
    """Returns the sites of a model, in the order in which the model applies them.

    A site is a layer that applies a `SWAPPABLE` activation to its output: an `Activation`, `ReLU`, `LeakyReLU`, `ELU`
    or `PReLU` layer, or a convolution or dense layer with an `activation=` argument, also inside of nested models. A
    layer that is called several times is one site. Not sites are

    - output heads and gates: softmax, sigmoid, tanh and linear activations (unless `include` asks for them), and a
      ReLU6 that is the clipping of a hard sigmoid, `relu6(x + 3) * (1 / 6)`, as in MobileNetV3's squeeze-excite
      (never; see `keras_actnas.surgery.gates`);
    - functions of the user's own, and those without a name: a ReLU with a threshold or a maximum other than 6, an
      ELU with another alpha than 1;
    - activations inside of recurrent, attention, wrapper and subclassed layers;
    - functions applied to symbolic tensors directly (`keras.ops.relu(x)`), which have no layer and no lasting name.
      Write `keras.layers.Activation("relu")(x)` to make one a site.

    Args:
      model: A functional or Sequential model.
      include: More activations that make a layer a site, such as `("sigmoid",)`. With `("identity",)` every convolution
        without an activation is a site.

    Returns:
      Sites named `core.site_name(layer.name)`. Where layers of several nested models share that name, each is named by
      its path instead, such as `encoder/conv1`; Keras forbids `/` in a layer's name, so names are one-to-one. Names
      depend on neither `include` nor the activations: a model keeps its sites' names when its activations are replaced.
      Keras itself names a layer that was given no name (`re_lu_7`), by what the process has built before: to use an
      assignment in another process, name the layers or load the model from a file.
      The shape is that of the first call; in a nested model, as that model's own input says.

    Raises:
      InputError: The model is subclassed or not built, or `include` holds an unknown name.

    >>> inputs = keras.Input((8, 8, 3))
    >>> x = keras.layers.Conv2D(4, 3, activation="relu", name="stem")(inputs)
    >>> model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="head")(x))
    >>> activation_sites(model)
    [Site(name='stem', activation='relu', shape=(6, 6, 4))]
    """
    return [placement.site for placement in placements(model, include)]


def current_assignment(model: keras.Model, include: Sequence[str] = ()) -> core.Assignment:
    """Returns the activation that a model has at each of its sites; arguments and errors as in `activation_sites`.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="swish", name="fc")])
    >>> dict(current_assignment(model))
    {'fc': 'silu'}
    """
    return core.Assignment((site.name, site.activation) for site in activation_sites(model, include))


def placements(model: keras.Model, include: Sequence[str] = ()) -> list[Placement]:
    """Returns the sites of a model with the layers that hold them; arguments and errors as in `activation_sites`."""
    more = include if isinstance(include, str) else list(include)
    wanted = {*SWAPPABLE, *(core.parse_activations(more) if more else ())}
    holders = list(_holders(model, (), set()))
    uses = collections.Counter(core.site_name(holder.layer.name) for holder in holders)
    result = []
    for holder in holders:
        swappable = holder.activation in wanted or core.leaky_slope(holder.activation) is not None
        if swappable and not holder.gate:
            bare = core.site_name(holder.layer.name)
            name = bare if uses[bare] == 1 else "/".join(holder.path)
            result.append(Placement(core.Site(name, holder.activation, holder.shape), holder.layer))
    return result


def select(placed: list[Placement], sites: Sequence[str] | None) -> list[Placement]:
    """Returns the placements of the named sites, all for None; raises `InputError` if one is not there."""
    if sites is None:
        return placed
    wanted = list(sites)
    core.Assignment((placement.site.name, placement.site.activation) for placement in placed).check_sites(wanted)
    return [placement for placement in placed if placement.site.name in wanted]


def _holders(model: keras.Model, path: tuple[str, ...], seen: set[int]) -> Iterator[_Holder]:
    graph = Graph(model)
    for operation in graph.operations:
        if id(operation) in seen:
            continue
        seen.add(id(operation))
        place = (*path, operation.name)
        activation = activation_of(operation)
        if is_graph_model(operation):
            yield from _holders(operation, place, seen)
        elif activation is not None:
            shape = tuple(graph.calls(operation)[0].outputs[0].shape[1:])
            gate = activation == "relu6" and is_gate(graph, operation)
            yield _Holder(operation, place, activation, shape, gate)
