"""AFRB: a block that trains as an inverted bottleneck and can end as one convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_actnas.core.checks import is_finite, is_whole
from keras_actnas.core.errors import InputError
from keras_actnas.layers.afrb_geometry import VARIANTS, Geometry, geometry
from keras_actnas.layers.afrb_part import AFRBPart, channel_axis, strided_shape

ALPHA_START = 0.25
"""Where alpha starts: the slope that PReLU starts with in its paper (He et al. 2015)."""


@keras.saving.register_keras_serializable(package="keras_actnas")
class AFRB(keras.Layer):
    """Activation function restructuring block: from inverted bottleneck to convolution by one number, alpha.

    From Bhardwaj et al., "Restructurable Activation Networks" (2022), section 2.2 and figure 3:

        batch normalization, PReLU of slope 1 - alpha,
        1x1 convolution, batch normalization,
        depthwise convolution, batch normalization, PReLU of slope alpha,
        1x1 convolution, batch normalization

    At alpha = 0 the first PReLU does nothing and the second is a ReLU, as in an inverted bottleneck. At alpha = 1 the
    first is a ReLU and all that follows is linear: `surgery.collapse_afrb` makes one convolution of it, exactly. That
    includes the border, because zeros are padded right behind the first convolution, before its batch normalization.
    Alpha is trained with the other weights; `callbacks.AFRBScheduler`, or `linearity`, pulls it towards 1.

    Input: images of shape (batch, height, width, channels), or (batch, channels, height, width) with
    `data_format="channels_first"`. Output: the same with `filters` channels; height and width divided by the stride,
    rounded up, as with `padding="same"`.

    Args:
      filters: Number of output channels.
      kernel_size: Size of the depthwise convolution: an odd number, or one each for height and width.
      strides: Stride of the depthwise convolution, the same in both directions.
      expansion: Channels of the depthwise convolution as a multiple of the input channels.
      variant: 1: no residual connection. 2: the block's input is added to its output. 3: as 2, but of two such blocks
        with half the channels between them, which share alpha and collapse into two convolutions. None for 2 where the
        input has the output's shape, else 1.
      linearity: Weight lambda of the loss `lambda * (alpha - 1)^2` (equation (3)) that the layer adds.
      alpha_initializer: Initializer of alpha; None for 0.25.
      kernel_initializer: Initializer of all kernels.
      kernel_regularizer: Regularizer of all kernels.
      momentum: Momentum of all batch normalizations. In short trainings 0.99 leaves their statistics behind; take 0.9.
      data_format: `"channels_last"` or `"channels_first"`; None for `keras.config.image_data_format()`.
      **kwargs: Arguments of every Keras layer: `name`, `dtype`, `trainable`.

    Raises:
      ValueError: An argument is not of its kind; or, when the layer is built, variant 2 or 3 does not fit the shapes.

    >>> layer = AFRB(8, strides=2)
    >>> layer(keras.ops.ones((1, 9, 9, 4))).shape == (1, 5, 5, 8), layer.geometry.variant
    (True, 1)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int] = 3,
        strides: int | Sequence[int] = 1,
        expansion: float = 6,
        variant: int | None = None,
        linearity: float = 0.0,
        alpha_initializer: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        momentum: float = 0.99,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not is_whole(filters) or filters < 1:
            raise InputError(f"Expected filters to be a whole number of 1 or more. Received: {filters!r}.")
        if not is_finite(expansion) or expansion <= 0:
            raise InputError(f"Expected expansion to be a number above 0. Received: {expansion!r}.")
        if variant is not None and variant not in VARIANTS:
            raise InputError(f"Expected variant 1, 2, 3 or None. Received: {variant!r}.")
        self.filters = int(filters)
        self.kernel_size = _pair("kernel_size", kernel_size)
        if not all(size % 2 for size in self.kernel_size):
            raise InputError(f"Expected an odd kernel_size. Received: {kernel_size!r}.")
        self.strides = _pair("strides", strides)
        if self.strides[0] != self.strides[1]:
            raise InputError(f"Expected strides that are the same in both directions. Received: {strides!r}.")
        self.expansion = expansion
        self.variant = variant
        self._start_linearity = check_linearity(linearity)
        start = keras.initializers.Constant(ALPHA_START) if alpha_initializer is None else alpha_initializer
        self.alpha_initializer = keras.initializers.get(start)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.momentum = momentum
        self.data_format = keras.config.image_data_format() if data_format is None else data_format
        if self.data_format not in ("channels_last", "channels_first"):
            raise InputError(f"Expected data_format 'channels_last' or 'channels_first'. Received: {data_format!r}.")
        self.geometry: Geometry | None = None
        self.linearity = self.add_weight(
            shape=(),
            name="linearity",
            initializer=keras.initializers.Constant(self._start_linearity),
            trainable=False,
            autocast=False,
        )  # Here, because a callback sets it when training begins, which is before an unbuilt model is built.

    @property
    def channel_axis(self) -> int:
        """Axis of the channels in inputs and outputs, counted from the batch."""
        return channel_axis(self.data_format)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Adds alpha and the layers."""
        if len(input_shape) != 4 or input_shape[self.channel_axis] is None:
            raise InputError(
                f"Expected images (4-D inputs) with a known number of channels for AFRB {self.name!r}. Received: "
                f"inputs of shape {tuple(input_shape)}; fix it, or check `data_format`."
            )
        channels = int(input_shape[self.channel_axis] or 0)
        self.geometry = geometry(channels, self.filters, self.strides[0], self.expansion, self.variant, self.name)
        self.alpha = self.add_weight(
            shape=(),
            name="alpha",
            initializer=self.alpha_initializer,
            regularizer=self._distance_from_linear,
            autocast=False,  # Its gradient is a sum over a batch of images, too large for a half-precision sum.
        )
        trained = (self.kernel_initializer, self.kernel_regularizer, self.momentum)
        self.parts = [
            AFRBPart(part, self.kernel_size, self.data_format, *trained, name=f"part_{number}", dtype=self.dtype_policy)
            for number, part in enumerate(self.geometry.parts, 1)
        ]
        shape = tuple(input_shape)
        for part in self.parts:
            part.build(shape)
            part.trainable = self.trainable  # What is frozen before it is built keeps its BatchNorm statistics, too.
            shape = part.compute_output_shape(shape)
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={self.channel_axis: channels})

    def _distance_from_linear(self, alpha: Any) -> Any:
        return ops.cast(self.linearity, alpha.dtype) * ops.square(alpha - 1)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Applies the block."""
        x, alpha = inputs, ops.copy(self.alpha)
        for part in self.parts:
            x = part(x, alpha, training=training)
        return x + inputs if self.geometry is not None and self.geometry.residual else x

    def alpha_value(self) -> float:
        """Returns alpha as a number."""
        return float(ops.convert_to_numpy(self.alpha))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape of the output."""
        return strided_shape(input_shape, self.filters, self.strides[0], self.channel_axis)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor; alpha and linearity are those at the start."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "expansion": self.expansion,
            "variant": self.variant,
            "linearity": self._start_linearity,
            "alpha_initializer": keras.initializers.serialize(self.alpha_initializer),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "momentum": self.momentum,
            "data_format": self.data_format,
        }


def afrb_layers(model: keras.Model) -> list[AFRB]:
    """Returns the AFRBs of a model, also those inside of nested models, once each."""
    found = {id(layer): layer for layer in model._flatten_layers() if isinstance(layer, AFRB)}
    return list(found.values())


def check_linearity(linearity: Any) -> float:
    """Returns a weight lambda as a float; raises `InputError` unless it is a finite number of 0 or more."""
    if not is_finite(linearity) or linearity < 0:
        raise InputError(f"Expected a weight of the loss on alpha of 0 or more. Received: {linearity!r}.")
    return float(linearity)


def _pair(name: str, value: Any) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
    if len(pair) != 2 or not all(is_whole(size) and size >= 1 for size in pair):
        raise InputError(f"Expected {name} to be a whole number of 1 or more, or two of them. Received: {value!r}.")
    return int(pair[0]), int(pair[1])
