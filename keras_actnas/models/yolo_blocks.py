"""The blocks of the YOLO families as Keras functional graphs.

Every layer with weights is named by the Ultralytics module path of its PyTorch counterpart (see `core.layer_name`), and
every activation is a layer of its own, so that weights transfer by name and activations can be exchanged by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_actnas.core import layer_name
from keras_actnas.layers import activation_layer
from keras_actnas.models.yolo_families import Row

Tensor = Any
"""A symbolic Keras tensor of shape (batch, height, width, channels)."""

CHANNELS_LAST = "channels_last"

BN_EPSILON = 1e-3
BN_MOMENTUM = 0.97
"""Share of the old moving statistics that a step keeps; PyTorch counts the other share, 0.03."""


def conv_initializer(fan_in_scale: int = 1) -> keras.initializers.Initializer:
    """Returns PyTorch's default initialization of a convolution: uniform in +-1 / sqrt(fan in).

    Args:
      fan_in_scale: How many times too large Keras counts the fan in: the number of channels for a depthwise kernel.
    """
    # A new object each time: one that is shared would give equal kernels to layers of equal shape.
    return keras.initializers.VarianceScaling(scale=fan_in_scale / 3, mode="fan_in", distribution="uniform")


def plain_conv(x: Tensor, path: str, filters: int, bias: float) -> Tensor:
    """Applies a 1x1 convolution with a bias, without normalization and activation: the last layer of a head."""
    return keras.layers.Conv2D(
        filters,
        1,
        data_format=CHANNELS_LAST,
        kernel_initializer=conv_initializer(),
        bias_initializer=keras.initializers.Constant(bias),
        name=layer_name(path),
    )(x)


class Blocks:
    """Applies blocks to symbolic tensors and remembers the activation sites it made.

    Args:
      activation_of: Site -> canonical name of its activation.

    Attributes:
      sites: The sites made so far, in order of execution.
    """

    def __init__(self, activation_of: Callable[[str], str]) -> None:
        self.sites: list[str] = []
        self._activation_of = activation_of

    def conv(
        self, x: Tensor, path: str, filters: int, kernel: int = 1, stride: int = 1, activate: bool = True
    ) -> Tensor:
        """Applies convolution, batch normalization and, unless told otherwise, activation."""
        padding = "same"
        if stride > 1:
            # "same" would put the odd row of padding at the end only; PyTorch pads both sides alike.
            pad = keras.layers.ZeroPadding2D(
                (kernel - 1) // 2, data_format=CHANNELS_LAST, name=layer_name(f"{path}.pad")
            )
            x, padding = pad(x), "valid"
        x = keras.layers.Conv2D(
            filters,
            kernel,
            strides=stride,
            padding=padding,
            data_format=CHANNELS_LAST,
            use_bias=False,
            kernel_initializer=conv_initializer(),
            name=layer_name(f"{path}.conv"),
        )(x)
        return self._normalize(x, path, activate)

    def depthwise(self, x: Tensor, path: str, kernel: int = 3, activate: bool = True) -> Tensor:
        """Applies depthwise convolution, batch normalization and, unless told otherwise, activation."""
        x = keras.layers.DepthwiseConv2D(
            kernel,
            padding="same",
            data_format=CHANNELS_LAST,
            use_bias=False,
            depthwise_initializer=conv_initializer(x.shape[-1]),
            name=layer_name(f"{path}.conv"),
        )(x)
        return self._normalize(x, path, activate)

    def _normalize(self, x: Tensor, path: str, activate: bool) -> Tensor:
        x = keras.layers.BatchNormalization(epsilon=BN_EPSILON, momentum=BN_MOMENTUM, name=layer_name(f"{path}.bn"))(x)
        if not activate:
            return x
        site = f"{path}.act"
        self.sites.append(site)
        return activation_layer(self._activation_of(site), name=layer_name(site))(x)

    def bottleneck(
        self, x: Tensor, path: str, shortcut: bool, kernels: tuple[int, int] = (3, 3), expansion: float = 1.0
    ) -> Tensor:
        """Applies two convolutions that keep the number of channels, around them a shortcut."""
        channels = x.shape[-1]
        y = self.conv(x, f"{path}.cv1", int(channels * expansion), kernels[0])
        y = self.conv(y, f"{path}.cv2", channels, kernels[1])
        return keras.layers.Add(name=layer_name(f"{path}.add"))([x, y]) if shortcut else y

    def csp(
        self, x: Tensor, path: str, channels: int, hidden: int, repeats: int, shortcut: bool, kernels: tuple[int, int]
    ) -> Tensor:
        """Applies a CSP block: a chain of bottlenecks beside a 1x1 convolution, merged by another (C3, C3k)."""
        y = self.conv(x, f"{path}.cv1", hidden)
        for index in range(repeats):
            y = self.bottleneck(y, f"{path}.m.{index}", shortcut, kernels)
        beside = self.conv(x, f"{path}.cv2", hidden)
        return self.conv(concat([y, beside], f"{path}.concat"), f"{path}.cv3", channels)

    def c3(self, x: Tensor, path: str, row: Row) -> Tensor:
        """Applies YOLOv5's CSP block."""
        return self.csp(x, path, row.channels, row.hidden, row.repeats, row.shortcut, kernels=(1, 3))

    def c2f(self, x: Tensor, path: str, row: Row) -> Tensor:
        """Applies YOLOv8's CSP block: every bottleneck's output reaches the merging convolution."""
        return self._chain(x, path, row, lambda y, inner: self.bottleneck(y, inner, row.shortcut))

    def c3k2(self, x: Tensor, path: str, row: Row) -> Tensor:
        """Applies YOLO11's CSP block: as YOLOv8's with narrower bottlenecks, or with small CSP blocks, inside."""

        def inner_block(y: Tensor, inner: str) -> Tensor:
            if row.nested:
                channels = y.shape[-1]
                return self.csp(y, inner, channels, channels // 2, repeats=2, shortcut=row.shortcut, kernels=(3, 3))
            return self.bottleneck(y, inner, row.shortcut, expansion=0.5)

        return self._chain(x, path, row, inner_block)

    def _chain(self, x: Tensor, path: str, row: Row, inner_block: Callable[[Tensor, str], Tensor]) -> Tensor:
        x = self.conv(x, f"{path}.cv1", 2 * row.hidden)
        parts = list(keras.ops.split(x, 2, axis=-1))
        for index in range(row.repeats):
            parts.append(inner_block(parts[-1], f"{path}.m.{index}"))
        return self.conv(concat(parts, f"{path}.concat"), f"{path}.cv2", row.channels)

    def sppf(self, x: Tensor, path: str, row: Row) -> Tensor:
        """Applies spatial pyramid pooling: maxima over 5, 9 and 13 pixels, as one pooling three times in a row."""
        parts = [self.conv(x, f"{path}.cv1", x.shape[-1] // 2)]
        for index in range(3):
            pool = keras.layers.MaxPooling2D(
                5, strides=1, padding="same", data_format=CHANNELS_LAST, name=layer_name(f"{path}.m.{index}")
            )
            parts.append(pool(parts[-1]))
        return self.conv(concat(parts, f"{path}.concat"), f"{path}.cv2", row.channels)


def concat(parts: list[Tensor], path: str) -> Tensor:
    """Joins tensors along the channels."""
    return keras.layers.Concatenate(axis=-1, name=layer_name(path))(parts)


def upsample(x: Tensor) -> Tensor:
    """Doubles height and width by repeating pixels."""
    _, height, width, _ = x.shape
    # Becomes one RESIZE_NEAREST_NEIGHBOR in TFLite; UpSampling2D becomes TILE, which NPU compilers refuse. The layer
    # Resizing would do the same, but its call defaults to training=True: called as `model(x)`, every layer behind it
    # would run in training mode and move its BatchNorm statistics.
    return keras.ops.image.resize(x, (2 * height, 2 * width), interpolation="nearest", data_format=CHANNELS_LAST)
