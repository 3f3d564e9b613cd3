"""Meta-ACON: ACON-C whose switching factor is computed from the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_actnas.core.checks import is_whole
from keras_actnas.core.errors import InputError
from keras_actnas.layers import acon_functions
from keras_actnas.layers.acon import normal
from keras_actnas.layers.channelwise import ChannelwiseActivation

GRANULARITIES = ("channel", "layer", "pixel")


@keras.saving.register_keras_serializable(package="keras_actnas")
class MetaACON(ChannelwiseActivation):
    """Meta-ACON: ACON-C with a switching factor beta in (0, 1) that depends on the input.

    From Ma, Zhang, Sun, "Activate or Not" (2021), section 3.1. By granularity, beta is

    - `"channel"`: one number for each image and channel, `sigmoid(bn2(fc2(bn1(fc1(mean(x))))))`, with
      `max(reduction, channels // reduction)` hidden units and the batch normalizations of the authors' code;
    - `"layer"`: one number for each image, `sigmoid(mean(x))` over all pixels and channels;
    - `"pixel"`: one number for each element, `sigmoid(x)`.

    The paper writes sums; as in the authors' code these are means, since a sum over thousands of pixels saturates the
    sigmoid. Positions that a mask excludes do not count. Inputs, outputs and errors as for `ACONA`.

    Args:
      reduction: How many channels share a hidden unit, of granularity `"channel"`; at most the number of channels.
      granularity: `"channel"`, `"layer"` or `"pixel"`.
      p1_initializer: Initializer of p1; None for N(0, 1).
      p2_initializer: Initializer of p2; None for N(0, 1).
      p1_regularizer: Regularizer of p1.
      p2_regularizer: Regularizer of p2.
      p1_constraint: Constraint of p1.
      p2_constraint: Constraint of p2.
      shared_axes: As for `ACONA`, of p1 and p2.
      data_format: As for `ACONA`.
      **kwargs: Arguments of every Keras layer: `name`, `dtype`, `trainable`.

    Raises:
      ValueError: The granularity is unknown, or reduction is less than 1 or, when built, larger than the number of
        channels.

    >>> layer = MetaACON(reduction=4)
    >>> layer(keras.ops.ones((1, 8, 8, 16))).shape == (1, 8, 8, 16), layer.reduce.units
    (True, 4)
    """

    def __init__(
        self,
        reduction: int = 16,
        granularity: str = "channel",
        p1_initializer: Any = None,
        p2_initializer: Any = None,
        p1_regularizer: Any = None,
        p2_regularizer: Any = None,
        p1_constraint: Any = None,
        p2_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        parameters = {
            "p1": (normal() if p1_initializer is None else p1_initializer, p1_regularizer, p1_constraint),
            "p2": (normal() if p2_initializer is None else p2_initializer, p2_regularizer, p2_constraint),
        }
        super().__init__(parameters, shared_axes, data_format, **kwargs)
        if granularity not in GRANULARITIES:
            raise InputError(f"Expected a granularity of {', '.join(GRANULARITIES)}. Received: {granularity!r}.")
        if not is_whole(reduction) or reduction < 1:
            raise InputError(f"Expected a reduction of 1 or more. Received: {reduction!r}.")
        self.reduction = int(reduction)
        self.granularity = granularity

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Adds the parameters and, for granularity `"channel"`, the layers that compute beta."""
        super().build(input_shape)
        channel_axis = self.channel_axis(input_shape)
        self._pooled_axes = tuple(axis for axis in range(1, len(input_shape)) if axis != channel_axis)
        if self.granularity != "channel":
            return
        channels = input_shape[channel_axis]
        if channels is None:
            raise InputError(
                f"Expected a known number of channels for MetaACON {self.name!r}. "
                f"Received: inputs of shape {tuple(input_shape)}; fix it, or check `data_format`."
            )
        if self.reduction > channels:
            raise InputError(
                f"Expected a reduction of MetaACON {self.name!r} no larger than its {channels} channels. "
                f"Received: reduction={self.reduction}; pass, for example, `reduction={min(self.reduction, channels)}`."
            )
        dtype = self.dtype_policy
        self.reduce = keras.layers.Dense(max(self.reduction, channels // self.reduction), name="fc1", dtype=dtype)
        self.reduce_norm = keras.layers.BatchNormalization(name="bn1", dtype=dtype)
        self.expand = keras.layers.Dense(channels, name="fc2", dtype=dtype)
        self.expand_norm = keras.layers.BatchNormalization(name="bn2", dtype=dtype)
        self.reduce.build((None, channels))
        self.reduce_norm.build((None, self.reduce.units))
        self.expand.build((None, self.reduce.units))
        self.expand_norm.build((None, channels))

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Applies the activation."""
        self.check_float(inputs)
        beta = self.switching_factor(inputs, mask, training)
        function = acon_functions.lean_acon_c if training else acon_functions.acon_c
        p1, p2 = self.tensors()
        return function(inputs, p1, p2, ops.cast(beta, p1.dtype))

    def switching_factor(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Returns beta for some inputs: a tensor that broadcasts against them, with values in (0, 1)."""
        return ops.sigmoid(self._evidence(inputs, mask, training))

    def _evidence(self, x: Any, mask: Any, training: bool | None) -> Any:
        """Returns beta before the sigmoid, of a shape that broadcasts against x."""
        if self.granularity == "pixel":
            return x
        pooled = self._mean(x, mask)
        if self.granularity == "layer":
            return ops.mean(pooled, axis=tuple(range(1, len(x.shape))), keepdims=True)
        channels = self.expand.units
        hidden = self.reduce_norm(self.reduce(ops.reshape(pooled, (-1, channels))), training=training)
        return ops.reshape(self.expand_norm(self.expand(hidden), training=training), (-1, *pooled.shape[1:]))

    def _mean(self, x: Any, mask: Any) -> Any:
        """Returns the mean over the positions, of size 1 along their axes; of half-precision x computed in float32."""
        if not self._pooled_axes:
            return x
        values = x if keras.backend.standardize_dtype(x.dtype) == "float64" else ops.cast(x, "float32")
        if mask is None:
            return ops.cast(ops.mean(values, axis=self._pooled_axes, keepdims=True), x.dtype)
        if self.data_format == "channels_first":
            mask = ops.expand_dims(mask, 1)
        while len(mask.shape) < len(x.shape):
            mask = ops.expand_dims(mask, -1)
        weights = ops.broadcast_to(ops.cast(mask, values.dtype), ops.shape(x))
        counts = ops.maximum(ops.sum(weights, axis=self._pooled_axes, keepdims=True), 1)
        return ops.cast(ops.sum(values * weights, axis=self._pooled_axes, keepdims=True) / counts, x.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "reduction": self.reduction, "granularity": self.granularity}
