"""An activation on a share of the channels only, as it is before the others are composed away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_actnas.core.activations import canonical_name
from keras_actnas.core.checks import is_finite
from keras_actnas.core.errors import InputError
from keras_actnas.layers.elementwise import ElementwiseLayer
from keras_actnas.layers.named import activation_function


def nearest(value: float) -> int:
    """Returns the nearest integer, the larger one of two.

    >>> nearest(2.5), nearest(511.488)
    (3, 511)
    """
    return math.floor(value + 0.5)


def curved_channels(channels: int, linear_fraction: float) -> int:
    """Returns how many channels keep their activation, at least one, when a share of them is made linear.

    >>> curved_channels(384, 0.4)
    230
    """
    return max(1, nearest((1 - linear_fraction) * channels))


def check_linear_fraction(linear_fraction: Any) -> float:
    """Returns a share as a float; raises `InputError` unless it is a number from 0 up to, but not including, 1."""
    if not is_finite(linear_fraction) or not 0 <= linear_fraction < 1:
        raise InputError(
            f"Expected linear_fraction to be a number of at least 0 and below 1. Received: {linear_fraction!r}."
        )
    return float(linear_fraction)


@keras.saving.register_keras_serializable(package="keras_actnas")
class PartialActivation(ElementwiseLayer):
    """An activation on the first channels; the others, a share of `linear_fraction`, pass as they are.

    From Bhardwaj et al., "Restructurable Activation Networks" (2022), section 4: 40 % of the GELUs of a ConvNeXt block
    are removed. With this layer between the block's two 1x1 convolutions the network trains in that form;
    `surgery.restructure_linear` then composes what is linear into one 1x1 convolution, with the same outputs.

    Input and output: floating-point tensors of one shape with a batch and a channel axis, of any rank.

    Args:
      activation: Name of the activation.
      linear_fraction: Share of the channels without activation, below 1. Rounded to whole channels; the first
        one always has the activation.
      data_format: `"channels_last"` or `"channels_first"`; None for `keras.config.image_data_format()`.
      **kwargs: Arguments of every Keras layer: `name`, `dtype`, `trainable`.

    Raises:
      ValueError: The activation is unknown or has weights, another argument is not of its kind; or, when called, inputs
        are not floating-point numbers, or their number of channels is unknown.

    >>> layer = PartialActivation("relu", 0.5)
    >>> ops.convert_to_numpy(layer(ops.array([[-1.0, 2.0, -3.0, 4.0]]))).tolist()
    [[0.0, 2.0, -3.0, 4.0]]
    """

    def __init__(
        self,
        activation: str = "gelu",
        linear_fraction: float = 0.4,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation = canonical_name(activation)
        self._function = activation_function(self.activation)
        self.linear_fraction = check_linear_fraction(linear_fraction)
        self.data_format = keras.config.image_data_format() if data_format is None else data_format
        if self.data_format not in ("channels_last", "channels_first"):
            raise InputError(f"Expected data_format 'channels_last' or 'channels_first'. Received: {data_format!r}.")

    def split(self, input_shape: Sequence[int | None]) -> tuple[int, int]:
        """Returns how many channels have the activation, and how many have none."""
        axis = self.channel_axis(input_shape)
        channels = input_shape[axis] if 0 < axis < len(input_shape) else None
        if channels is None:
            raise InputError(
                f"Expected inputs of PartialActivation {self.name!r} with a batch axis and a known number of channels. "
                f"Received: shape {tuple(input_shape)}."
            )
        curved = curved_channels(channels, self.linear_fraction)
        return curved, channels - curved

    def channel_axis(self, input_shape: Sequence[int | None]) -> int:
        """Returns the axis of the channels, counted from the batch."""
        return 1 if self.data_format == "channels_first" else len(input_shape) - 1

    def call(self, inputs: Any) -> Any:
        """Applies the activation to the first channels."""
        self.check_float(inputs)
        curved, straight = self.split(inputs.shape)
        if not straight:
            return self._function(inputs)
        axis = self.channel_axis(inputs.shape)
        first, rest = ops.split(inputs, [curved], axis=axis)
        return ops.concatenate([self._function(first), rest], axis=axis)

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the symbolic output, of the input's shape and the layer's compute dtype."""
        self.split(inputs.shape)
        return super().compute_output_spec(inputs, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        own = {
            "activation": self.activation,
            "linear_fraction": self.linear_fraction,
            "data_format": self.data_format,
        }
        return {**super().get_config(), **own}
