"""ACON in the place of a network's activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_actnas import core
from keras_actnas.layers.acon import ACONA, ACONB, ACONC
from keras_actnas.layers.meta_acon import MetaACON
from keras_actnas.surgery.activations import is_argument_layer
from keras_actnas.surgery.copying import Rewrite, copy_model
from keras_actnas.surgery.replace import with_layer
from keras_actnas.surgery.sites import placements, select

VARIANTS = (ACONA, ACONB, ACONC, MetaACON)


def to_acon(
    model: keras.Model, variant: type[keras.Layer] = ACONC, sites: Sequence[str] | None = None, **arguments: Any
) -> keras.Model:
    """Returns a copy of a model with an ACON layer at every site.

    As in the ACON paper, where all activations of light networks were changed, and in ResNet-50 and deeper ones only
    the one after each 3x3 convolution (section 4.1). Names, weights and structure are those of `model`, which stays as
    it is; the copy is not compiled.

    The authors' start values (p1, p2 from N(0, 1)) are meant for training from scratch. To put ACON-C into a trained
    network, let it start as SiLU: `p1_initializer="ones", p2_initializer="zeros"`; a large beta starts it near ReLU.

    Args:
      model: A functional or Sequential model.
      variant: `ACONA`, `ACONB`, `ACONC` or `MetaACON`.
      sites: Names of the sites to change, as `activation_sites` gives them; None for all.
      **arguments: Arguments of the variant. MetaACON's reduction is lowered to the number of channels where a layer
        has fewer.

    Raises:
      InputError: The model is not functional or has no site, `sites` names one that it does not have, or `variant` is
        another class.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.ReLU(name="act")])
    >>> type(to_acon(model).get_layer("act")).__name__
    'ACONC'
    """
    if variant not in VARIANTS:
        names = ", ".join(known.__name__ for known in VARIANTS)
        raise core.InputError(f"Expected a variant of {names}. Received: {variant!r}.")
    placed = placements(model)
    selected = {id(placement.layer): placement for placement in select(placed, sites)}
    if not placed:
        raise core.InputError(f"Expected a model with activation sites. Received: {model.name!r}, which has none.")

    def instead(layer: Any) -> Any:
        if id(layer) not in selected:
            return None
        own = {**_layout(layer), **arguments}
        if variant is MetaACON:
            own = _narrowed(own, selected[id(layer)].site.shape)
        return with_layer(layer, lambda **standard: variant(**own, **standard))

    return copy_model(model, Rewrite(instead=instead))


def _layout(layer: Any) -> dict[str, Any]:
    """Returns the `data_format` of a layer with an `activation=` argument, which is that of its activation, too."""
    return {"data_format": getattr(layer, "data_format", "channels_last")} if is_argument_layer(layer) else {}


def _narrowed(arguments: dict[str, Any], shape: tuple[int | None, ...]) -> dict[str, Any]:
    """Returns MetaACON's arguments with a reduction that a site's number of channels allows."""
    data_format = arguments.get("data_format") or keras.config.image_data_format()
    channels = shape[0 if data_format == "channels_first" else -1]
    reduction = arguments.get("reduction", 16)
    return {**arguments, "reduction": reduction if channels is None else min(reduction, channels)}
