"""PEA: from a network with ReLUs to one that trains with ensembles, and back to pure ReLU."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_actnas import core
from keras_actnas.core.checks import is_whole
from keras_actnas.layers.pea import ProgressiveEnsemble, StochasticPEA, WeightedPEA, pea_layers
from keras_actnas.surgery.activations import is_argument_layer
from keras_actnas.surgery.copying import Rewrite, copy_model
from keras_actnas.surgery.recreate import recreate
from keras_actnas.surgery.replace import with_layer
from keras_actnas.surgery.sites import placements, select


def to_pea(
    model: keras.Model,
    activation: str | Callable[[Any], Any] = "swish",
    stochastic: bool = False,
    seed: int | None = None,
    sites: Sequence[str] | None = None,
) -> keras.Model:
    """Returns a copy of a model in which every ReLU is a `WeightedPEA` or `StochasticPEA`, at alpha = 0.

    Train it with `callbacks.PEAScheduler`, then `strip_pea` gives the ReLU network. Names, weights and structure are
    those of `model`, which stays as it is; the copy is not compiled. A ReLU that is the `activation=` of a convolution
    becomes an `activation=`, too.

    Args:
      model: A functional or Sequential model with ReLUs that `activation_sites` finds.
      activation: As for `WeightedPEA`.
      stochastic: Whether to use `StochasticPEA`.
      seed: Seed of the first stochastic layer; each of the others gets the next number. None for random ones.
      sites: Names of the ReLU sites to turn; None for all.

    Raises:
      InputError: The model is not functional or has no ReLU, `sites` names a site that is not a ReLU, or the
        activation is unknown.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="relu", name="fc")])
    >>> to_pea(model, "gelu").get_layer("fc").activation.activation
    'gelu'
    """
    if seed is not None and not is_whole(seed):
        raise core.InputError(f"Expected seed to be a whole number or None. Received: {seed!r}.")
    placed = placements(model)
    relus = [placement for placement in placed if placement.site.activation == "relu"]
    if not relus:
        counts = collections.Counter(placement.site.activation for placement in placed)
        found = ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "no activation site"
        raise core.InputError(
            f"Expected a model with ReLUs, which PEA ends as. Received: {model.name!r} with {found}; put ReLUs in with "
            "`replace_activations` first."
        )
    order = {id(placement.layer): number for number, placement in enumerate(select(relus, sites))}

    def instead(layer: Any) -> Any:
        if id(layer) not in order:
            return None
        own = None if seed is None else int(seed) + order[id(layer)]

        def make(**arguments: Any) -> keras.Layer:
            if stochastic:
                return StochasticPEA(activation, seed=own, **arguments)
            return WeightedPEA(activation, **arguments)

        return with_layer(layer, make)

    return copy_model(model, Rewrite(instead=instead))


def strip_pea(model: keras.Model, force: bool = False) -> keras.Model:
    """Returns a copy of a model in which every PEA layer is a plain ReLU: what training with PEA was for.

    At alpha = 1 the outputs are those of `model`. The copy needs nothing of this package (if the model's other layers
    need nothing of it) and is not compiled; names, weights and structure are those of `model`, which stays as it is.

    Args:
      model: A functional or Sequential model with PEA layers.
      force: Strip even where alpha is below 1, which changes the outputs.

    Raises:
      InputError: The model is not functional, has no PEA layer, has one where it cannot be replaced (inside of a
        wrapper or a subclassed layer), or, unless forced, one whose alpha is below 1.

    >>> model = keras.Sequential([keras.Input((4,)), WeightedPEA(alpha=1.0, name="act")])
    >>> strip_pea(model).get_layer("act").activation.__name__
    'relu'
    """
    layers = pea_layers(model)
    if not layers:
        raise core.InputError(f"Expected a model with PEA layers. Received: {model.name!r}, which has none.")
    alphas = {layer.name: layer.alpha_value() for layer in layers}
    unfinished = {name: alpha for name, alpha in alphas.items() if not alpha >= 1}
    if unfinished and not force:
        name, alpha = next(iter(unfinished.items()))
        raise core.InputError(
            f"Expected alpha = 1 in every PEA layer, so that the ReLU network computes the same. Received: "
            f"{len(unfinished)} layers below it, such as {name!r} with {alpha:g}; train to the end of PEAScheduler, or "
            "pass force=True and accept other outputs."
        )

    def instead(layer: Any) -> Any:
        if isinstance(layer, ProgressiveEnsemble):
            arguments = {"name": layer.name, "dtype": layer.dtype_policy, "trainable": layer.trainable}
            return keras.layers.Activation("relu", **arguments)
        if is_argument_layer(layer) and isinstance(layer.activation, ProgressiveEnsemble):
            return recreate(layer, lambda config: {**config, "activation": "relu"})
        return None

    stripped = copy_model(model, Rewrite(instead=instead))
    left = pea_layers(stripped)
    if left:
        raise core.InputError(
            "Expected PEA layers that the model's graph holds, or `activation=` arguments. "
            f"Received: {left[0].name!r} inside of another layer; rebuild that layer with ReLU."
        )
    return stripped
