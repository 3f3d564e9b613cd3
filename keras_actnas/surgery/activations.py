"""Activations of Keras layers: reading a layer's canonical activation name and making layers and arguments from one."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from keras_actnas import core
from keras_actnas.layers.named import activation_layer, keras_name

ACTIVATION_LAYERS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.PReLU,
)
"""Layers that do nothing but apply an activation."""

ARGUMENT_LAYERS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
    keras.layers.Dense,
    keras.layers.EinsumDense,
)
"""Layers that apply the activation of their `activation=` argument to their output, as the last thing they do."""

_FUNCTIONS = ("relu", "relu6", "silu", "gelu", "elu", "selu", "mish", "softplus", "tanh", "sigmoid", "hard_sigmoid")
_OF_FUNCTION = {
    **{getattr(keras.activations, name): name for name in _FUNCTIONS},
    # `keras.ops.gelu` is missing on purpose: it is the approximate one unless told otherwise.
    **{getattr(keras.ops, name): name for name in _FUNCTIONS if name not in ("gelu", "mish")},
    keras.activations.hard_silu: "hard_swish",
    keras.ops.hard_silu: "hard_swish",
    keras.activations.linear: "identity",
    keras.activations.leaky_relu: "leaky_relu(0.2)",
    keras.ops.leaky_relu: "leaky_relu(0.2)",
}


def is_argument_layer(layer: Any) -> bool:
    """Returns whether a layer applies an activation that it was given as its `activation=` argument."""
    return isinstance(layer, ARGUMENT_LAYERS) and calls_as_keras(layer)


def activation_of(layer: Any) -> str | None:
    """Returns the canonical name of the activation that a layer applies to its output.

    Returns:
      None when the layer applies none, or one that has no name: a function of the user's own, a ReLU with a threshold
      or with a maximum other than 6, an ELU with another alpha than 1.

    >>> activation_of(keras.layers.Conv2D(8, 3, activation="swish")), activation_of(keras.layers.LeakyReLU(0.1))
    ('silu', 'leaky_relu')
    """
    if isinstance(layer, ACTIVATION_LAYERS) and calls_as_keras(layer):
        return _of_activation_layer(layer)
    if is_argument_layer(layer):
        name = _of_callable(layer.activation)
        # A PReLU given as an argument is part of its layer's weights and cannot be taken out of it.
        return None if name == "prelu" else name
    return None


def argument(activation: str, layer: keras.Layer) -> Any:
    """Returns the value of the `activation=` argument that gives `layer` an activation.

    A leaky ReLU is a `keras.layers.LeakyReLU`: a function cannot carry its slope into a saved file, and Keras's
    function of that name has another slope (0.2).

    Raises:
      InputError: The activation has weights of its own (`prelu`).
    """
    if activation == "prelu":
        raise core.InputError(
            "Expected an activation without weights for the `activation=` argument of a layer. "
            f"Received: 'prelu' for {layer.name!r}; make it a separate layer first with `separate_activations`."
        )
    slope = core.leaky_slope(activation)
    if slope is None:
        return keras_name(activation)
    return keras.layers.LeakyReLU(slope, name=f"{layer.name}_leaky_relu", dtype=layer.dtype_policy)


def activation_like(activation: str, name: str, like: keras.Layer, rank: int = 4) -> keras.Layer:
    """Returns a new layer that applies an activation.

    Args:
      activation: Canonical name.
      name: Name of the new layer.
      like: Layer that the new one stands in for: it takes its dtype policy and its trainable flag.
      rank: Number of dimensions of the input, with the batch.
    """
    return activation_layer(activation, rank, name=name, dtype=like.dtype_policy, trainable=like.trainable)


def _of_callable(function: Any) -> str | None:
    """Returns the name of a function or of a layer used as one."""
    if isinstance(function, keras.Layer):
        return activation_of(function)
    try:
        return _OF_FUNCTION.get(function)
    except TypeError:  # Callable objects need not be hashable.
        return None


def _of_activation_layer(layer: Any) -> str | None:
    if isinstance(layer, keras.layers.ReLU):
        return _of_relu(layer)
    if isinstance(layer, keras.layers.LeakyReLU):
        return _leaky(layer.negative_slope)
    if isinstance(layer, keras.layers.ELU):
        return "elu" if layer.alpha == 1 else None
    if isinstance(layer, keras.layers.PReLU):
        return "prelu"
    return _of_callable(layer.activation)


def _of_relu(layer: Any) -> str | None:
    if layer.threshold:
        return None
    if layer.max_value is None:
        return _leaky(layer.negative_slope) if layer.negative_slope else "relu"
    return "relu6" if layer.max_value == 6 and not layer.negative_slope else None


def _leaky(slope: float) -> str:
    return core.canonical_name(f"leaky_relu({float(slope):g})")


def calls_as_keras(layer: Any) -> bool:
    """Returns whether a layer computes what Keras's own class computes: a subclass may do more in its `call`."""
    module: str = inspect.unwrap(type(layer).call).__module__
    return module.startswith("keras.")
