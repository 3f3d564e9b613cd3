"""Scaling the channels of a layer's output, or undoing a scaling of its input, in the layer's weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_actnas.surgery.activations import calls_as_keras

_CONVS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_NORM = keras.layers.BatchNormalization
_SCALABLE = (*_CONVS, *_TRANSPOSED, *_DEPTHWISE, *_SEPARABLE, keras.layers.Dense, _NORM)


def is_scalable(layer: Any) -> bool:
    """Returns whether a layer is linear in its input and its weights can take up factors for each channel.

    True of Keras's own convolutions, dense layers and batch normalizations (in inference mode), unless they are
    quantized, carry a LoRA, or a batch normalization lacks its scale or offset.
    """
    if not isinstance(layer, _SCALABLE) or not calls_as_keras(layer):
        return False
    if isinstance(layer, _NORM):
        return bool(layer.scale and layer.center)
    return not getattr(layer, "quantization_mode", None) and not getattr(layer, "lora_enabled", False)


def channel_axis(layer: Any, rank: int) -> int:
    """Returns the channel axis, counted from the batch, of the inputs of a scalable layer."""
    if isinstance(layer, _NORM):
        return int(layer.axis % rank)
    return 1 if getattr(layer, "data_format", "channels_last") == "channels_first" else rank - 1


def scale(layer: Any, inputs: np.ndarray | None, outputs: np.ndarray | None) -> None:
    """Changes the weights of a layer: its output for x becomes `outputs` times what it was for `inputs * x`.

    Args:
      layer: A layer that `is_scalable`.
      inputs: One number, not 0, for each input channel; None for ones.
      outputs: One number for each output channel; None for ones.
    """
    if isinstance(layer, _NORM):
        _scale_norm(layer, inputs, outputs)
        return
    if inputs is not None:
        weight = layer.depthwise_kernel if isinstance(layer, _SEPARABLE) else layer.kernel
        _multiply(weight, _along_inputs(layer, inputs, weight.shape))
    if outputs is not None:
        weight = layer.pointwise_kernel if isinstance(layer, _SEPARABLE) else layer.kernel
        _multiply(weight, _along_outputs(layer, outputs, weight.shape))
        if layer.use_bias:
            _multiply(layer.bias, outputs)


def _along_inputs(layer: Any, factors: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns factors of input channels in a shape that broadcasts against the kernel."""
    if isinstance(layer, _CONVS):
        # With groups, output channel o reads the inputs of its group only: (groups, inputs) -> (inputs, outputs).
        grouped = factors.reshape(layer.groups, -1)
        return np.repeat(grouped, shape[-1] // layer.groups, axis=0).T
    if isinstance(layer, _TRANSPOSED):
        return factors[None, :]
    return factors[:, None]


def _along_outputs(layer: Any, factors: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns factors of output channels in a shape that broadcasts against the kernel."""
    if isinstance(layer, _TRANSPOSED):
        return factors[:, None]
    return factors.reshape(shape[-2:]) if isinstance(layer, _DEPTHWISE) else factors


def _scale_norm(layer: Any, inputs: np.ndarray | None, outputs: np.ndarray | None) -> None:
    if inputs is not None:  # gamma (x s - mean) / deviation = (gamma s) (x - mean / s) / deviation.
        _multiply(layer.gamma, inputs)
        _multiply(layer.moving_mean, 1 / inputs)
    if outputs is not None:
        _multiply(layer.gamma, outputs)
        _multiply(layer.beta, outputs)


def _multiply(weight: Any, factors: np.ndarray) -> None:
    weight.assign(keras.ops.convert_to_numpy(weight).astype("float64") * factors)
