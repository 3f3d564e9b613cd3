"""EfficientNet-Lite0: an EfficientNet without what integer hardware is slow at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import keras

from keras_actnas.models.image_classifier import Tensor, activate, classify, conv, image_input

STEM_FILTERS, TOP_FILTERS = 32, 1280


class _Stage(NamedTuple):
    repeats: int
    kernel_size: int
    strides: int
    expansion: int
    filters: int


STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
"""EfficientNet-B0's stages of inverted bottlenecks (Tan and Le 2019, table 1)."""


def EfficientNetLiteB0(  # noqa: N802 (the network's name)
    activation: str = "relu6",
    input_shape: Sequence[int] = (224, 224, 3),
    num_classes: int = 1000,
    batch_size: int | None = None,
    classifier_activation: str | None = "softmax",
    dropout: float = 0.2,
) -> keras.Model:
    """Returns EfficientNet-Lite0 with random weights, the network that RAN-e is compared with.

    EfficientNet-B0 (Tan and Le 2019) without squeeze-and-excitation and with ReLU6 in place of SiLU (Google's
    EfficientNet-Lite, 2020). At 224 px it has the figures that Bhardwaj et al., "Restructurable Activation Networks"
    (2022), print in table 1: 4.7 M parameters, BatchNorm statistics included, and 385 M multiply-accumulates, those of
    the classifier included (which they leave out for their own networks). Stock Keras layers, named as those of
    `keras.applications.EfficientNetB0`; the sites are `stem_activation`, `block1a_activation`,
    `block2a_expand_activation`, `block2a_activation`, ..., `top_activation`.

    Args:
      activation: Name of the activation of every site, such as `"relu6"` or `"hard_swish"`.
      input_shape: Height, width and channels of the images, channels last.
      num_classes: How many classes the classifier tells apart.
      batch_size: A fixed batch size, or None. TFLite conversion wants 1.
      classifier_activation: Activation of the classifier; None for logits.
      dropout: Rate of the dropout in front of the classifier. There is no stochastic depth.

    Raises:
      InputError: An argument cannot be used.

    >>> model = EfficientNetLiteB0("hard_swish", input_shape=(64, 64, 3), num_classes=10)
    >>> model.output_shape, model.get_layer("block6a_dwconv").kernel_size
    ((None, 10), (5, 5))
    """
    image = image_input(input_shape, batch_size)
    x = _conv_norm(image, "stem", STEM_FILTERS, 3, 2, activation)
    for number, stage in enumerate(STAGES, 1):
        for index in range(stage.repeats):
            first = stage.strides if index == 0 else 1
            x = _bottleneck(x, f"block{number}{'abcd'[index]}", stage._replace(strides=first), activation)
    x = _conv_norm(x, "top", TOP_FILTERS, 1, 1, activation)
    return classify(image, x, num_classes, classifier_activation, "efficientnet_lite_b0", "predictions", dropout)


def _bottleneck(x: Tensor, name: str, stage: _Stage, activation: str) -> Tensor:
    """Applies an inverted bottleneck: expansion, depthwise convolution, projection, and a shortcut where it fits."""
    y, channels = x, x.shape[-1]
    if stage.expansion > 1:
        y = _conv_norm(y, f"{name}_expand", channels * stage.expansion, 1, 1, activation)
    y = conv(y, f"{name}_dwconv", None, stage.kernel_size, stage.strides)
    y = activate(_norm(y, f"{name}_bn"), activation, f"{name}_activation")
    y = _norm(conv(y, f"{name}_project_conv", stage.filters, 1), f"{name}_project_bn")
    return keras.layers.Add(name=f"{name}_add")([x, y]) if stage.strides == 1 and channels == stage.filters else y


def _conv_norm(x: Tensor, name: str, filters: int, kernel_size: int, strides: int, activation: str) -> Tensor:
    x = _norm(conv(x, f"{name}_conv", filters, kernel_size, strides), f"{name}_bn")
    return activate(x, activation, f"{name}_activation")


def _norm(x: Tensor, name: str) -> Tensor:
    return keras.layers.BatchNormalization(name=name)(x)
