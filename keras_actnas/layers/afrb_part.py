"""One chain of an AFRB: expansion, depthwise convolution and projection between two PReLUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_actnas.layers.afrb_geometry import Part
from keras_actnas.layers.lean import lean, sum_like

Shape = Sequence[int | None]


def prelu(x: Any, slope: Any) -> Any:
    """Returns x where it is positive, else `slope * x`; slope is a number or a scalar tensor."""
    return ops.relu(x) - ops.cast(slope, x.dtype) * ops.relu(-x)


def _prelu_gradients(upstream: Any, x: Any, slope: Any) -> tuple[Any, Any]:
    positive = ops.sign(ops.relu(x))
    by_x = upstream * (positive + (1 - positive) * ops.cast(slope, x.dtype))
    return by_x, sum_like(-upstream * ops.relu(-x), slope)


lean_prelu = lean(prelu, _prelu_gradients)


class AFRBPart(keras.Layer):
    """One chain of a block, from its first batch normalization to its last; alpha is the block's.

    Args:
      part: Number of channels and stride.
      kernel_size: Height and width of the depthwise convolution.
      data_format: `"channels_last"` or `"channels_first"`.
      kernel_initializer: Initializer of all kernels.
      kernel_regularizer: Regularizer of all kernels.
      momentum: Momentum of all batch normalizations.
      **kwargs: `name` and `dtype`.
    """

    def __init__(
        self,
        part: Part,
        kernel_size: tuple[int, int],
        data_format: str,
        kernel_initializer: Any,
        kernel_regularizer: Any,
        momentum: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # Alpha stays in full precision.
        self.kernel_size, self.strides, self.filters = kernel_size, part.strides, part.filters
        self._axis, self._data_format = channel_axis(data_format), data_format
        own = {"dtype": self.dtype_policy, "data_format": data_format}

        def kernel() -> Any:  # A random initializer gives the same numbers at every call.
            known = kernel_initializer
            return known.clone() if isinstance(known, keras.initializers.Initializer) else known

        def pointwise(filters: int, name: str) -> keras.Layer:
            trained = {"kernel_initializer": kernel(), "kernel_regularizer": kernel_regularizer}
            return keras.layers.Conv2D(filters, 1, use_bias=False, name=name, **trained, **own)

        def norm(name: str) -> keras.Layer:
            return keras.layers.BatchNormalization(self._axis, momentum, name=name, dtype=self.dtype_policy)

        self.norm = norm("norm")
        self.expand, self.expand_norm = pointwise(part.hidden, "expand"), norm("expand_norm")
        self.depthwise = keras.layers.DepthwiseConv2D(
            self.kernel_size,
            strides=part.strides,
            use_bias=False,
            depthwise_initializer=kernel(),
            depthwise_regularizer=kernel_regularizer,
            name="depthwise",
            **own,
        )
        self.depthwise_norm = norm("depthwise_norm")
        self.project, self.project_norm = pointwise(part.filters, "project"), norm("project_norm")

    def build(self, input_shape: Shape, alpha_shape: Any = None) -> None:
        """Builds the layers; sizes other than the number of channels do not matter for their weights."""
        channels = int(input_shape[self._axis] or 0)
        hidden = self.expand.filters
        for layer, size in (
            (self.norm, channels),
            (self.expand, channels),
            (self.expand_norm, hidden),
            (self.depthwise, hidden),
            (self.depthwise_norm, hidden),
            (self.project, hidden),
            (self.project_norm, self.filters),
        ):
            layer.build((None, None, None, size) if self._axis == 3 else (None, size, None, None))

    def call(self, inputs: Any, alpha: Any, training: bool | None = None) -> Any:
        """Applies the chain."""
        function = lean_prelu if training else prelu
        x = function(self.norm(inputs, training=training), 1 - alpha)
        x = self._pad(self.expand(x))
        x = self.depthwise(self.expand_norm(x, training=training))
        x = function(self.depthwise_norm(x, training=training), alpha)
        return self.project_norm(self.project(x), training=training)

    def linear_chain(self) -> list[keras.Layer]:
        """Returns the layers behind the first PReLU, which are linear at alpha = 1, with the padding between them."""
        pads = tuple((size // 2, size // 2) for size in self.kernel_size)
        padding = keras.layers.ZeroPadding2D(pads, data_format=self._data_format)
        depthwise = [self.depthwise, self.depthwise_norm]
        return [self.expand, padding, self.expand_norm, *depthwise, self.project, self.project_norm]

    def _pad(self, x: Any) -> Any:
        """Pads zeros around images as `padding="same"` would."""
        axes = (1, 2) if self._axis == 3 else (2, 3)
        sizes = ops.shape(x)
        pads = [(0, 0)] * 4
        for axis, kernel in zip(axes, self.kernel_size, strict=True):
            pads[axis] = _same_padding(sizes[axis], kernel, self.strides)
        return ops.pad(x, pads)

    def compute_output_shape(
        self, input_shape: Sequence[int | None], alpha_shape: Any = None
    ) -> tuple[int | None, ...]:
        """Returns the shape of the output."""
        return strided_shape(input_shape, self.filters, self.strides, self._axis)


def channel_axis(data_format: str) -> int:
    """Returns the axis of the channels of images, counted from the batch."""
    return 3 if data_format == "channels_last" else 1


def strided_shape(shape: Shape, filters: int, strides: int, channel_axis: int) -> tuple[int | None, ...]:
    """Returns the output shape of a convolution with `padding="same"`."""
    sizes = [None if size is None else -(-size // strides) for size in shape]
    sizes[0], sizes[channel_axis] = shape[0], filters
    return tuple(sizes)


def _same_padding(size: Any, kernel: int, strides: int) -> tuple[Any, Any]:
    """Returns the zeros before and after, by TensorFlow's rule; `size` may be a tensor."""
    if strides == 1:
        return kernel // 2, kernel // 2
    missing = (-(-size // strides) - 1) * strides + kernel - size
    total = max(missing, 0) if isinstance(missing, int) else ops.maximum(missing, 0)
    return total // 2, total - total // 2
