"""ConvNeXt, RAN-i and the block that was designed with its activation, as Keras models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_actnas.core import InputError, closest
from keras_actnas.core.checks import is_finite, is_whole
from keras_actnas.layers import ExponentialKernel, LayerScale, PartialActivation, activation_layer
from keras_actnas.models.convnext_config import KERNEL, PATCHES, Block, ConvNeXtConfig

Tensor = Any
"""A symbolic Keras tensor of shape (batch, height, width, channels)."""

CHANNELS_LAST = "channels_last"
EPSILON = 1e-6
"""What LayerNorm adds to the variance."""

RANI_NETWORKS: dict[str, tuple[tuple[int, ...], tuple[int, ...], float]] = {
    "tiny": ((64, 128, 256, 511), (5, 5, 15, 5), 0.1),
    "small": ((76, 151, 303, 606), (5, 5, 15, 5), 0.2),
    "base": ((87, 175, 350, 699), (7, 7, 21, 7), 0.4),
}
"""Widths, depths and drop path of table 7 of the paper."""


def ConvNeXt(  # noqa: N802 (the network's name)
    widths: Sequence[int] = (96, 192, 384, 768),
    depths: Sequence[int] = (3, 3, 9, 3),
    activation: str = "gelu",
    input_shape: Sequence[int] = (224, 224, 3),
    num_classes: int = 1000,
    drop_path: float = 0.0,
    layer_scale: float | None = 1e-6,
    expansion: float = 4.0,
    linear_fraction: float = 0.0,
    linear_activation: str | None = None,
    restructured: bool = True,
    batch_size: int | None = None,
    name: str = "convnext",
) -> keras.Model:
    """Returns a ConvNeXt with random weights; without arguments it is ConvNeXt-T.

    From Liu et al., "A ConvNet for the 2020s" (2022), with the blocks of Bhardwaj et al., "Restructurable Activation
    Networks" (2022), section 4 and figure 8: with `linear_fraction=0.4` each block's 1x1 convolutions have 60 % of the
    hidden channels, and a 1x1 convolution from the block's width to the same width beside them stands for the 40 % that
    have lost their activation. Its own activation is psi: None is the paper's Model A, `"gelu"` Model B,
    `"exponential"` Model C. With `restructured=False` all hidden channels are there, 60 % of them with an activation:
    the form which `surgery.restructure_linear` turns into that of Model A, with the same outputs.

    A layer is named by its module path in the authors' PyTorch code with hyphens for dots, such as `stages-0-1-dwconv`;
    activations are the sites `stages-0-1-act`. Layers are Keras's own but for `LayerScale` (none with
    `layer_scale=None`), `ExponentialKernel` and `PartialActivation`.

    Args:
      widths: Channels of each stage. Any positive integers.
      depths: Number of blocks of each stage.
      activation: Name of the blocks' activation.
      input_shape: Height, width and channels of the images, channels last.
      num_classes: How many classes the classifier tells apart.
      drop_path: Probability with which the last block's residual branch is left out of an image's training step; it
        rises linearly from 0 at the first block.
      layer_scale: What layer scale starts with; None for none.
      expansion: Hidden channels of a block as a multiple of its width.
      linear_fraction: Share of the hidden channels without activation, from 0 up to, but not including, 1.
      linear_activation: Activation of the linear branch, psi: a name, or `"exponential"` for `ExponentialKernel`.
      restructured: Whether the channels without activation are composed into one 1x1 convolution.
      batch_size: A fixed batch size, or None. TFLite conversion wants 1.
      name: Name of the model.

    Returns:
      A functional model from images to logits (batch, num_classes).

    Raises:
      InputError: An argument cannot be used.

    >>> model = ConvNeXt((8, 16), (1, 2), input_shape=(32, 32, 3), num_classes=10)
    >>> model.output_shape, model.count_params()
    ((None, 10), 8082)
    """
    config = ConvNeXtConfig(
        widths=tuple(widths),
        depths=tuple(depths),
        expansion=expansion,
        linear_fraction=linear_fraction,
        linear_activation=linear_activation,
        restructured=restructured,
        layer_scale=layer_scale,
        input_shape=tuple(input_shape),  # type: ignore[arg-type]
        num_classes=num_classes,
    )
    if not is_finite(drop_path) or not 0 <= drop_path < 1:
        raise InputError(f"Expected drop_path to be a number of at least 0 and below 1. Received: {drop_path!r}.")
    if batch_size is not None and (not is_whole(batch_size) or batch_size < 1):
        raise InputError(f"Expected batch_size to be an integer of at least 1, or None. Received: {batch_size!r}.")
    blocks = _Blocks(config, activation)
    images = keras.Input(config.input_shape, batch_size=batch_size, name="images")
    x, rates = images, iter(np.linspace(0, drop_path, sum(config.depths)).tolist())
    for stage, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
        x = _reduce(x, stage, width)
        for index in range(depth):
            x = blocks.block(x, f"stages-{stage}-{index}", next(rates))
    x = keras.layers.GlobalAveragePooling2D(data_format=CHANNELS_LAST, name="pool")(x)
    x = _norm(x, "norm")
    x = keras.layers.Dense(num_classes, kernel_initializer=_initializer(), name="head")(x)
    return keras.Model(images, x, name=name)


def RANI(size: str, drop_path: float | None = None, **options: Any) -> keras.Model:  # noqa: N802
    """Returns a RAN-i network, a ConvNeXt scaled by NN-Mass, with random weights.

    From Bhardwaj et al., "Restructurable Activation Networks" (2022), section 3 and table 7.

    Args:
      size: `"tiny"`, `"small"` or `"base"`.
      drop_path: As for `ConvNeXt`; None for the paper's 0.1, 0.2 and 0.4.
      **options: More arguments of `ConvNeXt`.

    Raises:
      InputError: The size is unknown, or an argument cannot be used.

    >>> RANI("tiny", input_shape=(32, 32, 3)).count_params()
    20760131
    """
    if size not in RANI_NETWORKS:
        raise InputError(
            f"Expected the size of a RAN-i network. Received: {size!r}.{closest(str(size), RANI_NETWORKS)}"
        )
    widths, depths, usual = RANI_NETWORKS[size]
    options = {"name": f"ran-i-{size}", **options}
    return ConvNeXt(widths, depths, drop_path=usual if drop_path is None else drop_path, **options)


class _Blocks:
    """Applies the blocks of a network.

    Args:
      config: The network's structure.
      activation: Name of the blocks' activation.
    """

    def __init__(self, config: ConvNeXtConfig, activation: str) -> None:
        self._config = config
        self._activation = activation

    def block(self, x: Tensor, path: str, drop_rate: float) -> Tensor:
        """Applies a block."""
        width = x.shape[-1]
        y = keras.layers.DepthwiseConv2D(
            KERNEL,
            padding="same",
            data_format=CHANNELS_LAST,
            depthwise_initializer=_initializer(),
            name=f"{path}-dwconv",
        )(x)
        y = self._mlp(_norm(y, f"{path}-norm"), path, self._config.block(width))
        if self._config.layer_scale is not None:
            y = LayerScale(self._config.layer_scale, data_format=CHANNELS_LAST, name=f"{path}-gamma")(y)
        if drop_rate:
            # One number for each image.
            y = keras.layers.Dropout(drop_rate, noise_shape=(None, 1, 1, 1), name=f"{path}-drop_path")(y)
        return keras.layers.Add(name=f"{path}-add")([x, y])

    def _mlp(self, x: Tensor, path: str, block: Block) -> Tensor:
        """Applies the 1x1 convolutions with the activation between, and the linear branch."""
        y = _pointwise(x, block.curved + block.straight, f"{path}-pwconv1")
        if block.straight:
            fraction = self._config.linear_fraction
            y = PartialActivation(self._activation, fraction, CHANNELS_LAST, name=f"{path}-act")(y)
        else:
            y = activation_layer(self._activation, name=f"{path}-act")(y)
        y = _pointwise(y, block.width, f"{path}-pwconv2")
        if not block.branch:
            return y
        # Named as `surgery.restructure_linear` names them.
        beside = _pointwise(x, block.width, f"{path}-act-linear")
        if self._config.linear_activation is not None:
            beside = _psi(self._config.linear_activation, f"{path}-act-psi")(beside)
        return keras.layers.Add(name=f"{path}-act-merge")([y, beside])


def _psi(activation: str, name: str) -> keras.layers.Layer:
    return ExponentialKernel(name=name) if activation == "exponential" else activation_layer(activation, name=name)


def _reduce(x: Tensor, stage: int, width: int) -> Tensor:
    """Applies what lies in front of a stage: a convolution of patches, with its normalization."""
    patch, path = PATCHES[min(stage, 1)], f"downsample_layers-{stage}"
    x = _norm(x, f"{path}-0") if stage else x
    conv = keras.layers.Conv2D(
        width,
        patch,
        strides=patch,
        data_format=CHANNELS_LAST,
        kernel_initializer=_initializer(),
        name=f"{path}-{min(stage, 1)}",
    )
    x = conv(x)
    return x if stage else _norm(x, f"{path}-1")


def _pointwise(x: Tensor, filters: int, name: str) -> Tensor:
    return keras.layers.Conv2D(filters, 1, data_format=CHANNELS_LAST, kernel_initializer=_initializer(), name=name)(x)


def _norm(x: Tensor, name: str) -> Tensor:
    return keras.layers.LayerNormalization(epsilon=EPSILON, name=name)(x)


def _initializer() -> keras.initializers.Initializer:
    """Returns the authors' initialization; a new object, because one that is shared gives equal kernels."""
    return keras.initializers.TruncatedNormal(stddev=0.02)
