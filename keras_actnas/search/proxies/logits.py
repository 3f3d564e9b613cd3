"""A classifier without its softmax, which gradients of sums of outputs do not pass."""

from __future__ import annotations

from typing import Any

import keras

from keras_actnas.surgery.copying import Rewrite, Section, copy_model


def without_softmax(model: keras.Model) -> keras.Model:
    """Returns a copy of a model whose outputs are logits where they are probabilities; the model itself if none is.

    Probabilities add up to 1 whatever the image, so that the gradient of their sum is 0. The papers' networks end in
    logits.

    Args:
      model: A functional or Sequential model.
    """
    last = {id(tensor._keras_history.operation) for tensor in model.outputs}
    if not any(is_softmax(tensor._keras_history.operation) for tensor in model.outputs):
        return model

    def instead(layer: Any) -> Any:
        if id(layer) not in last or not is_softmax(layer):
            return None
        if isinstance(layer, keras.layers.Softmax):
            return Section(lambda inputs: inputs)
        return type(layer).from_config({**layer.get_config(), "activation": "linear"})

    return copy_model(model, Rewrite(instead=instead))


def is_softmax(operation: Any) -> bool:
    """Returns whether a layer ends in a softmax."""
    activation = getattr(operation, "activation", None)
    return isinstance(operation, keras.layers.Softmax) or activation is keras.activations.softmax
