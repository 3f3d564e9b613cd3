"""What the classic image classifiers have in common: the images, the arguments' checks, convolutions, the head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_actnas.core import InputError
from keras_actnas.core.checks import is_whole
from keras_actnas.layers.named import activation_layer

Tensor = Any
"""A symbolic Keras tensor of shape (batch, height, width, channels)."""

CHANNELS_LAST = "channels_last"


def image_input(input_shape: Sequence[int], batch_size: int | None) -> Tensor:
    """Returns a model's input of images, channels last.

    Raises:
      InputError: `input_shape` is not (height, width, channels), or the batch size is not positive.
    """
    shape = tuple(input_shape) if isinstance(input_shape, Sequence) and not isinstance(input_shape, str) else ()
    if len(shape) != 3 or not all(is_whole(size) and size > 0 for size in shape):
        raise InputError(
            f"Expected `input_shape` as (height, width, channels), such as (224, 224, 3). Received: {input_shape!r}."
        )
    if batch_size is not None and (not is_whole(batch_size) or batch_size < 1):
        raise InputError(f"Expected `batch_size` to be an integer of at least 1, or None. Received: {batch_size!r}.")
    return keras.Input(tuple(int(size) for size in shape), batch_size=batch_size, name="image")


def conv(
    x: Tensor,
    name: str,
    filters: int | None,
    kernel_size: int,
    strides: int = 1,
    *,
    use_bias: bool = False,
    symmetric: bool = False,
) -> Tensor:
    """Applies a convolution that keeps, or divides, height and width.

    Args:
      x: Feature maps.
      name: Name of the layer.
      filters: Output channels; None for a depthwise convolution.
      kernel_size: Height and width of the kernel.
      strides: Stride.
      use_bias: Whether there is a bias; not where BatchNorm follows.
      symmetric: Whether a strided convolution pads both sides alike, as PyTorch does; else the odd row and column of
        padding are at the end, as TensorFlow has it.
    """
    padding = "same"
    if symmetric and strides > 1 and kernel_size > 1:
        amount = (kernel_size - 1) // 2
        x, padding = keras.layers.ZeroPadding2D(amount, data_format=CHANNELS_LAST, name=f"{name}_pad")(x), "valid"
    options = {"strides": strides, "padding": padding, "data_format": CHANNELS_LAST, "use_bias": use_bias}
    # He et al. (2015), over the outputs, as the networks' authors initialize.
    initializer = keras.initializers.VarianceScaling(2.0, mode="fan_out")
    if filters is None:
        return keras.layers.DepthwiseConv2D(kernel_size, depthwise_initializer=initializer, name=name, **options)(x)
    return keras.layers.Conv2D(filters, kernel_size, kernel_initializer=initializer, name=name, **options)(x)


def activate(x: Tensor, activation: str, name: str) -> Tensor:
    """Applies an activation as a layer of its own, which is a site."""
    return activation_layer(activation, name=name)(x)


def classify(
    image: Tensor,
    x: Tensor,
    num_classes: int,
    classifier_activation: str | None,
    model_name: str,
    layer_name: str,
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a model from an image to its classes: the average over the feature maps `x`, and a dense layer.

    Raises:
      InputError: The number of classes is not positive.
    """
    if not is_whole(num_classes) or num_classes < 1:
        raise InputError(f"Expected `num_classes` to be an integer of at least 1. Received: {num_classes!r}.")
    x = keras.layers.GlobalAveragePooling2D(data_format=CHANNELS_LAST, name="avg_pool")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    x = keras.layers.Dense(int(num_classes), activation=classifier_activation, name=layer_name)(x)
    return keras.Model(image, x, name=model_name)
