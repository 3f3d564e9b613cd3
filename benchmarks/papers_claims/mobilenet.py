"""A small MobileNet for images of 28 x 28: the other network of both papers, beside the residual one."""

from __future__ import annotations

import keras

from keras_actnas.models.image_classifier import Tensor, activate, classify, conv, image_input

BLOCKS = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (64, 1))
"""Channels and stride of each depthwise separable block: MobileNet-0.25 (Howard et al. 2017, table 1), cut short."""


def mobilenet(input_shape: tuple[int, int, int] = (28, 28, 1), num_classes: int = 10) -> keras.Model:
    """Returns a classifier with 13 sites: a stem, and two in each of six depthwise separable blocks; logits."""
    image = image_input(input_shape, None)
    x = _normed(conv(image, "stem_conv", 8, 3, 2), "stem")
    for number, (filters, strides) in enumerate(BLOCKS):
        x = _normed(conv(x, f"block{number}_depthwise_conv", None, 3, strides), f"block{number}_depthwise")
        x = _normed(conv(x, f"block{number}_pointwise_conv", filters, 1), f"block{number}_pointwise")
    return classify(image, x, num_classes, None, "mobilenet", "head")


def _normed(x: Tensor, name: str) -> Tensor:
    return activate(keras.layers.BatchNormalization(name=f"{name}_norm")(x), "relu", name)
