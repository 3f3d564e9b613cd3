"""From a layer or operation of Keras 3 to the layers of Keras 2 that compute the same."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_actnas.core.activations import leaky_slope
from keras_actnas.integrations import tf_keras_layers as ours
from keras_actnas.integrations.tf_keras_modules import tf_keras
from keras_actnas.layers import FoldedACON, LayerScale
from keras_actnas.surgery.activations import activation_of, calls_as_keras, is_argument_layer

Rebuilt = Callable[..., Any]
"""Takes what the original is called with, as tensors of Keras 2, and returns what it computes."""

_CONVOLUTION = ("kernel_size", "strides", "padding", "data_format", "dilation_rate", "use_bias")
_POOLING = ("pool_size", "strides", "padding", "data_format")

# Class -> those arguments of its constructor that say what it computes: the same in both versions.
_ARGUMENTS = {
    "Conv2D": ("filters", "groups", *_CONVOLUTION),
    "DepthwiseConv2D": ("depth_multiplier", *_CONVOLUTION),
    "SeparableConv2D": ("filters", "depth_multiplier", *_CONVOLUTION),
    "Conv2DTranspose": ("filters", "output_padding", *_CONVOLUTION),
    "Dense": ("units", "use_bias"),
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "LayerNormalization": ("axis", "epsilon", "center", "scale"),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "ELU": ("alpha",),
    "PReLU": ("shared_axes",),
    "Softmax": ("axis",),
    "ZeroPadding2D": ("padding", "data_format"),
    "Cropping2D": ("cropping", "data_format"),
    "UpSampling2D": ("size", "data_format", "interpolation"),
    "MaxPooling2D": _POOLING,
    "AveragePooling2D": _POOLING,
    "GlobalAveragePooling2D": ("data_format", "keepdims"),
    "GlobalMaxPooling2D": ("data_format", "keepdims"),
    "Flatten": ("data_format",),
    "Reshape": ("target_shape",),
    "Permute": ("dims",),
    "Dropout": ("rate", "noise_shape"),
    "SpatialDropout2D": ("rate", "data_format"),
    "Add": (),
    "Subtract": (),
    "Multiply": (),
    "Average": (),
    "Maximum": (),
    "Minimum": (),
    "Concatenate": ("axis",),
}
_SPELLED = {"silu": "swish", "identity": "linear"}
_ARITHMETIC = {"Add": "add", "Subtract": "subtract", "Multiply": "multiply", "Divide": "divide", "TrueDivide": "divide"}
_ACTIVATION_OPERATIONS = {"Sigmoid": "sigmoid", "Relu": "relu", "Relu6": "relu6", "Silu": "silu", "Tanh": "tanh"}


def rebuild(operation: Any, name: str) -> Rebuilt | None:
    """Returns the counterpart of a layer or operation, with its weights once it has been called.

    Args:
      operation: A layer or operation of Keras 3; no nested model.
      name: Name of the layer of Keras 2, or the beginning of the names where it takes several.

    Returns:
      None for a kind that has no counterpart.
    """
    if not isinstance(operation, keras.Layer):
        return _operation(operation, name)
    if type(operation) is FoldedACON:
        return functools.partial(_folded_acon, operation, name)
    if type(operation) is LayerScale:
        return _channel_factors(name, operation.gamma, None)
    if not calls_as_keras(operation):
        return None
    activation = _activation_name(operation)
    if not is_argument_layer(operation):
        return _layer(operation, name) if activation in (None, "prelu") else activation_layer(activation, name)
    layer = _layer(operation, name)
    if activation is None or layer is None:
        return None
    if activation == "identity":
        return layer
    after = activation_layer(activation, f"{name}_activation")
    return lambda x: after(layer(x))


def activation_layer(activation: str, name: str) -> Rebuilt:
    """Returns the layer of Keras 2 that applies an activation without weights, given by its canonical name."""
    layers, slope = tf_keras().layers, leaky_slope(activation)
    if slope is not None:
        return layers.LeakyReLU(slope, name=name)
    makers: dict[str, Callable[[], Any]] = {
        "relu": lambda: layers.ReLU(name=name),
        "relu6": lambda: layers.ReLU(6.0, name=name),
        "hard_swish": lambda: ours.HardSwish(name=name),
        "hard_sigmoid": lambda: _hard_sigmoid(name),
    }
    spelled = _SPELLED.get(activation, activation)
    return makers.get(activation, lambda: layers.Activation(spelled, name=name))()


def _hard_sigmoid(name: str) -> Rebuilt:
    """Returns `relu6(x + 3) / 6`, Keras 3's, in steps that can be quantized; Keras 2 has one of another slope."""
    shift = ours.Arithmetic("add", 3.0, name=f"{name}_shift")
    clip = tf_keras().layers.ReLU(6.0, name=f"{name}_clip")
    scale = ours.Arithmetic("multiply", 1 / 6, name=name)
    return lambda x: scale(clip(shift(x)))


def _rescaling(layer: Any, name: str) -> Rebuilt:
    scale = ours.Arithmetic("multiply", layer.scale, name=f"{name}_scale")
    shift = ours.Arithmetic("add", layer.offset, name=name)
    return lambda x: shift(scale(x))


def _activation_name(layer: Any) -> str | None:
    if getattr(layer, "activation", None) is keras.activations.softmax:
        return "softmax"
    return activation_of(layer)


def _layer(layer: Any, name: str) -> Any:
    """Returns the layer of Keras 2 of the same class; its weights are set when it is first called."""
    kind = type(layer).__name__
    config = layer.get_config()
    if kind == "Identity":
        return tf_keras().layers.Activation("linear", name=name)
    if kind == "Rescaling":
        return _rescaling(layer, name)
    if kind == "Resizing":
        plain = layer.data_format == "channels_last" and not (layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio)
        return ours.Resize((layer.height, layer.width), layer.interpolation, name=name) if plain else None
    if kind not in _ARGUMENTS:
        return None
    # The transposed convolution of Keras 3 takes one number for both dimensions, that of Keras 2 does not take None.
    arguments = {key: config[key] for key in _ARGUMENTS[kind] if config.get(key) is not None or key == "max_value"}
    return _with_weights(getattr(tf_keras().layers, kind)(name=name, **arguments), layer.get_weights())


def _with_weights(layer: Any, weights: list[np.ndarray]) -> Any:
    """Returns a function that applies a layer and gives it its weights, which it has once it has been called."""

    def apply(*args: Any) -> Any:
        first = not layer.built
        outputs = layer(*args)
        if first and weights:
            layer.set_weights(weights)
        return outputs

    return apply


def _operation(operation: Any, name: str) -> Rebuilt | None:
    """Returns the counterpart of an operation such as `keras.ops.split` on a symbolic tensor."""
    kind, layers = type(operation).__name__, tf_keras().layers
    if not type(operation).__module__.startswith("keras."):
        return None
    if kind in _ARITHMETIC:
        return functools.partial(_arithmetic, _ARITHMETIC[kind], name)
    if kind in _ACTIVATION_OPERATIONS:
        return activation_layer(_ACTIVATION_OPERATIONS[kind], name)
    if kind == "Resize":
        plain = operation.data_format == "channels_last" and not getattr(operation, "crop_to_aspect_ratio", False)
        return ours.Resize(operation.size, operation.interpolation, name=name) if plain else None
    makers: dict[str, Callable[[], Rebuilt]] = {
        "Matmul": lambda: lambda first, second: ours.MatMul(name=name)([first, second]),
        "Softmax": lambda: layers.Softmax(operation.axis, name=name),
        "Concatenate": lambda: layers.Concatenate(operation.axis, name=name),
        "Split": lambda: functools.partial(_split, operation, name),
    }
    return makers[kind]() if kind in makers else None


def _arithmetic(function: str, name: str, first: Any, second: Any) -> Any:
    """Applies an operation to two tensors, or to one and a constant."""
    symbolic = [type(value).__name__ == "KerasTensor" for value in (first, second)]
    if not all(symbolic):
        tensor, value = (first, second) if symbolic[0] else (second, first)
        return ours.Arithmetic(function, keras.ops.convert_to_numpy(value), not symbolic[0], name=name)(tensor)
    merge = {"add": "Add", "subtract": "Subtract", "multiply": "Multiply"}[function]
    return getattr(tf_keras().layers, merge)(name=name)([first, second])


def _split(operation: Any, name: str, x: Any) -> Any:
    sections, axis = operation.indices_or_sections, operation.axis
    size = x.shape[axis]
    edges = [size * part // sections for part in range(sections + 1)] if isinstance(sections, int) else [
        0, *map(int, sections), size
    ]  # fmt: skip
    return ours.Split(np.diff(edges).tolist(), axis, name=name)(x)


def _channel_factors(name: str, scale: Any, shift: Any) -> Any:
    """Returns a factor and a summand for each channel as a 1x1 depthwise convolution, which tfmot can quantize."""
    flat = (None if value is None else keras.ops.convert_to_numpy(value).reshape(-1) for value in (scale, shift))
    scale, shift = flat
    kernel = np.ones_like(shift) if scale is None else scale
    layer = tf_keras().layers.DepthwiseConv2D(1, use_bias=shift is not None, name=name)
    return _with_weights(layer, [kernel.reshape(1, 1, -1, 1), *([] if shift is None else [shift])])


def _folded_acon(layer: Any, name: str, x: Any) -> Any:
    """Applies `y * (scale * sigmoid(slope * y) + shift)`, each factor as a depthwise convolution."""
    own = {factor: getattr(layer, factor) for factor in layer.factors}
    gate = _channel_factors(f"{name}_slope", own["slope"], None)(x) if "slope" in own else x
    gate = activation_layer("sigmoid", f"{name}_gate")(gate)
    if "scale" in own or "shift" in own:
        gate = _channel_factors(f"{name}_scale", own.get("scale"), own.get("shift"))(gate)
    return tf_keras().layers.Multiply(name=name)([x, gate])
