"""Composition: a chain of linear layers as one convolution."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_actnas import core
from keras_actnas.layers.afrb_part import channel_axis
from keras_actnas.surgery.activations import calls_as_keras

Pads = tuple[tuple[int, int], tuple[int, int]]
NO_PADS: Pads = ((0, 0), (0, 0))
_TRANSPARENT = (keras.layers.Identity, keras.layers.Dropout, keras.layers.SpatialDropout2D)


@dataclasses.dataclass(frozen=True)
class LinearConvolution:
    """A two-dimensional convolution as numbers.

    Attributes:
      kernel: Float64 array (height, width, input channels, output channels).
      bias: Float64 array (output channels,).
      strides: Along height and width.
      padding: Zeros before and after the image, along height and width.
      image_size: Height and width of what it makes of the images, where those are known.
    """

    kernel: np.ndarray
    bias: np.ndarray
    strides: tuple[int, int] = (1, 1)
    padding: Pads = NO_PADS
    image_size: tuple[int, int] | None = None

    @property
    def filters(self) -> int:
        """Number of output channels."""
        return self.kernel.shape[3]

    def layers(self, name: str, **kwargs: Any) -> list[keras.layers.Layer]:
        """Returns new layers that compute it: a `Conv2D`, behind a `ZeroPadding2D` (`<name>_pad`) where that is needed.

        The convolution is built and has its weights.

        Args:
          name: Name of the convolution.
          **kwargs: More arguments of both layers: `data_format`, `dtype`.
        """
        size = self.kernel.shape[:2]
        same = self.strides == (1, 1) and self.padding == tuple(_same(extent) for extent in size)
        conv = keras.layers.Conv2D(
            self.filters, size, strides=self.strides, padding="same" if same else "valid", name=name, **kwargs
        )
        channels = self.kernel.shape[2]
        last = conv.data_format == "channels_last"
        conv.build((None, None, None, channels) if last else (None, channels, None, None))
        conv.set_weights([self.kernel, self.bias])
        if same or self.padding == NO_PADS:
            return [conv]
        return [keras.layers.ZeroPadding2D(self.padding, name=f"{name}_pad", **kwargs), conv]


def compose_convolutions(
    chain: Sequence[keras.Layer], channels: int | None = None, image_size: tuple[int, int] | None = None
) -> LinearConvolution:
    """Returns the one convolution that computes what a chain of linear layers computes, in inference mode.

    The algebra behind the collapse of section 2.2 of Bhardwaj et al., "Restructurable Activation Networks" (2022), for
    any chain of convolutions (also depthwise, separable, grouped, dilated, strided), dense layers on channels, batch
    normalizations, zero paddings, and layers that do nothing in inference. Computed in float64.

    The result is exact everywhere, the border of the images included; so zeros may be padded only where what was
    computed up to there is zero outside of the image: before any convolution larger than 1x1, any stride, and any bias
    or batch normalization.

    Args:
      chain: Built layers, the first one first.
      channels: Number of input channels; needed where no convolution or dense layer tells it.
      image_size: Height and width of the images, which `padding="same"` with a stride depends on.

    Raises:
      InputError: The chain is empty, has a layer that is not linear, is not built or does not fit the others, or pads
        where zeros are not exact.

    >>> first = keras.layers.Conv2D(4, 1, use_bias=False)
    >>> second = keras.layers.DepthwiseConv2D(3)
    >>> for layer, depth in ((first, 2), (second, 4)):
    ...     layer.build((None, 8, 8, depth))
    >>> compose_convolutions([first, second]).kernel.shape
    (3, 3, 2, 4)
    """
    if not chain:
        raise core.InputError("Expected at least one layer to compose. Received: none.")
    for layer in chain:
        _check(layer)
    if len({axis for axis in map(_channel_axis, chain) if axis is not None}) > 1:
        raise core.InputError(
            "Expected layers whose channels are on the same axis. Received: "
            f"{', '.join(f'{layer.name!r} (axis {axis})' for layer in chain if (axis := _channel_axis(layer)))}."
        )
    channels = channels or next(filter(None, map(_input_channels, chain)), None)
    if channels is None:
        raise core.InputError("Expected the number of `channels`, which none of the layers tells. Received: None.")
    done = LinearConvolution(np.eye(channels)[None, None], np.zeros(channels), image_size=image_size)
    for layer in chain:
        done = _behind(done, layer)
    return done


def _behind(done: LinearConvolution, layer: Any) -> LinearConvolution:
    """Returns `done` with a layer behind it."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return _affine(done, *_norm_factors(layer))
    if isinstance(layer, keras.layers.Dense):
        bias = _numbers(layer.bias) if layer.use_bias else None
        return _convolved(done, _numbers(layer.kernel)[None, None], bias, 1, (1, 1), (1, 1))
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return _padded(done, layer.padding, layer.name)
    if isinstance(layer, keras.layers.SeparableConv2D):
        done = _same_padded(done, layer, layer.depthwise_kernel.shape[:2])
        kernel = _depthwise(layer.depthwise_kernel)
        groups = layer.depthwise_kernel.shape[2]
        done = _convolved(done, kernel, None, groups, layer.strides, layer.dilation_rate)
        bias = _numbers(layer.bias) if layer.use_bias else None
        return _convolved(done, _numbers(layer.pointwise_kernel), bias, 1, (1, 1), (1, 1))
    if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
        is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        kernel = _depthwise(layer.kernel) if is_depthwise else _numbers(layer.kernel)
        groups = layer.kernel.shape[2] if is_depthwise else layer.groups
        done = _same_padded(done, layer, kernel.shape[:2])
        bias = _numbers(layer.bias) if layer.use_bias else None
        return _convolved(done, kernel, bias, groups, layer.strides, layer.dilation_rate)
    return done


def _affine(done: LinearConvolution, scale: np.ndarray, shift: np.ndarray) -> LinearConvolution:
    if len(scale) != done.filters:
        raise core.InputError(
            f"Expected layers that fit each other. Received: {done.filters} channels for {len(scale)}."
        )
    return dataclasses.replace(done, kernel=done.kernel * scale, bias=done.bias * scale + shift)


def _padded(done: LinearConvolution, pads: Pads, name: str) -> LinearConvolution:
    if pads == NO_PADS:
        return done
    if done.kernel.shape[:2] != (1, 1) or done.strides != (1, 1) or np.any(done.bias):
        raise core.InputError(
            "Expected zeros to be padded before any bias, batch normalization, stride or convolution larger than 1x1, "
            f"where they are zeros of the image. Received: {name!r}, which pads later; such a chain is no convolution "
            "at the border."
        )
    (above, below), (left, right) = (
        (own[0] + more[0], own[1] + more[1]) for own, more in zip(done.padding, pads, strict=True)
    )
    size = done.image_size and (done.image_size[0] + sum(pads[0]), done.image_size[1] + sum(pads[1]))
    return dataclasses.replace(done, padding=((above, below), (left, right)), image_size=size)


def _same_padded(done: LinearConvolution, layer: Any, size: Sequence[int]) -> LinearConvolution:
    if layer.padding != "same":
        return done
    pads = []
    for axis, (extent, stride, dilation) in enumerate(zip(size, layer.strides, layer.dilation_rate, strict=True)):
        extent = (extent - 1) * dilation + 1
        if stride > 1 and extent > 1 and done.image_size is None:
            raise core.InputError(
                f"Expected `image_size`, on which the padding of {layer.name!r}, with strides, depends. Received: None."
            )
        pads.append(_same(extent, stride, done.image_size[axis] if done.image_size else 0))
    return _padded(done, (pads[0], pads[1]), layer.name)


def _same(extent: int, stride: int = 1, size: int = 0) -> tuple[int, int]:
    """Returns the zeros before and after that `padding="same"` stands for."""
    total = extent - 1 if stride == 1 else max((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def _convolved(
    done: LinearConvolution,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    groups: int,
    strides: Sequence[int],
    dilation: Sequence[int],
) -> LinearConvolution:
    """Returns `done` with a convolution without padding behind it; its kernel is (h, w, channels / groups, filters)."""
    height, width, channels, middle = done.kernel.shape
    rows, columns, _, filters = kernel.shape
    if kernel.shape[2] * groups != middle:
        raise core.InputError(f"Expected layers that fit each other. Received: {middle} channels for {kernel.shape}.")
    steps = [stride * spread for stride, spread in zip(done.strides, dilation, strict=True)]
    size = (height + (rows - 1) * steps[0], width + (columns - 1) * steps[1])
    result = np.zeros((*size, channels, groups, filters // groups))
    first = done.kernel.reshape(height, width, channels, groups, -1)
    second = kernel.reshape(rows, columns, -1, groups, filters // groups)
    for row in range(rows):
        for column in range(columns):
            top, left = row * steps[0], column * steps[1]
            part = np.einsum("hwcgm,mgf->hwcgf", first, second[row, column], optimize=True)
            result[top : top + height, left : left + width] += part
    passed = np.einsum("gm,hwmgf->gf", done.bias.reshape(groups, -1), second).ravel()
    image = done.image_size and tuple(
        (n - (extent - 1) * spread - 1) // stride + 1
        for n, extent, spread, stride in zip(done.image_size, (rows, columns), dilation, strides, strict=True)
    )
    return LinearConvolution(
        result.reshape(*size, channels, filters),
        passed if bias is None else passed + bias,
        (done.strides[0] * strides[0], done.strides[1] * strides[1]),
        done.padding,
        image,
    )


def _norm_factors(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a batch normalization multiplies by, and what it adds then, in inference mode."""
    scale = 1 / np.sqrt(_numbers(layer.moving_variance) + layer.epsilon)
    scale = scale * _numbers(layer.gamma) if layer.scale else scale
    shift = -_numbers(layer.moving_mean) * scale
    return scale, shift + _numbers(layer.beta) if layer.center else shift


def _depthwise(weight: Any) -> np.ndarray:
    """Returns a depthwise kernel (h, w, channels, multiplier) as that of a grouped convolution."""
    kernel = _numbers(weight)
    return kernel.reshape(*kernel.shape[:2], 1, -1)


def _input_channels(layer: Any) -> int | None:
    if isinstance(layer, keras.layers.SeparableConv2D):
        return int(layer.depthwise_kernel.shape[2])
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return int(layer.kernel.shape[2])
    if isinstance(layer, keras.layers.Conv2D):
        return int(layer.kernel.shape[2]) * layer.groups
    if isinstance(layer, keras.layers.BatchNormalization):
        return int(layer.moving_mean.shape[0])
    return int(layer.kernel.shape[0]) if isinstance(layer, keras.layers.Dense) else None


def _channel_axis(layer: Any) -> int | None:
    """Returns the axis of images that a layer takes for the channels; None if it makes no difference."""
    if isinstance(layer, _TRANSPARENT):
        return None
    if isinstance(layer, keras.layers.BatchNormalization):
        return int(layer.axis) % 4
    if isinstance(layer, keras.layers.Dense):
        return channel_axis("channels_last")
    data_format = getattr(layer, "data_format", None)
    return channel_axis(data_format) if data_format else None


def _check(layer: Any) -> None:
    known = (
        keras.layers.Conv2D,
        keras.layers.DepthwiseConv2D,
        keras.layers.SeparableConv2D,
        keras.layers.Dense,
        keras.layers.BatchNormalization,
        keras.layers.ZeroPadding2D,
    )
    identity = isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.linear
    if (identity or isinstance(layer, _TRANSPARENT)) and calls_as_keras(layer):
        return
    if not isinstance(layer, known) or not calls_as_keras(layer):
        raise core.InputError(
            "Expected linear layers: convolutions, dense layers, batch normalizations and zero paddings. "
            f"Received: {getattr(layer, 'name', layer)!r} of type {type(layer).__name__}."
        )
    if getattr(layer, "activation", None) not in (None, keras.activations.linear):
        raise core.InputError(f"Expected layers without activation. Received: {layer.name!r}, which has one.")
    if not layer.built and not isinstance(layer, keras.layers.ZeroPadding2D):
        raise core.InputError(f"Expected layers that are built. Received: {layer.name!r}, which has no weights yet.")


def _numbers(weight: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(weight), "float64")
