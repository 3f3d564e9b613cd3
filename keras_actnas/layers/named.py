"""From an activation's canonical name to the Keras layer or function that computes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_actnas.core.activations import PRELU_START, canonical_name, leaky_slope
from keras_actnas.core.errors import InputError


def activation_layer(activation: str, rank: int = 4, data_format: str | None = None, **kwargs: Any) -> keras.Layer:
    """Returns a layer of Keras's own that applies an activation.

    Args:
      activation: Name or alias.
      rank: Number of dimensions of the input, with the batch. A PReLU shares its slopes over all but the channels.
      data_format: Where these are: `"channels_last"` or `"channels_first"`; None for
        `keras.config.image_data_format()`.
      **kwargs: Arguments of every Keras layer: `name`, `dtype`, `trainable`.

    >>> activation_layer("leaky_relu", name="act").negative_slope
    0.1
    """
    activation = canonical_name(activation)
    slope = leaky_slope(activation)
    if slope is not None:
        return keras.layers.LeakyReLU(slope, **kwargs)
    if activation == "prelu":
        first = 1 if (data_format or keras.config.image_data_format()) == "channels_last" else 2
        shared = list(range(first, rank - 1 if first == 1 else rank))
        start = keras.initializers.Constant(PRELU_START)
        return keras.layers.PReLU(alpha_initializer=start, shared_axes=shared or None, **kwargs)
    return keras.layers.Activation(keras_name(activation), **kwargs)


def activation_function(activation: str) -> Callable[[Any], Any]:
    """Returns an activation as a function of a tensor.

    Raises:
      InputError: The activation has weights (`prelu`).
    """
    activation = canonical_name(activation)
    slope = leaky_slope(activation)
    if slope is not None:
        return lambda x: keras.ops.leaky_relu(x, negative_slope=slope)
    if activation == "prelu":
        raise InputError("Expected an activation without weights. Received: 'prelu'.")
    return keras.activations.get(keras_name(activation))


def keras_name(activation: str) -> str:
    """Returns the name by which Keras knows a canonical name."""
    return "linear" if activation == "identity" else activation
