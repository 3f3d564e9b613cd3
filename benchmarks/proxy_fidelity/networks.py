"""The networks that are trained: small enough that hundreds of trainings take hours, with sites along a real depth."""

from __future__ import annotations

import keras

from keras_actnas.models.image_classifier import Tensor, activate, classify, conv, image_input

BLOCKS = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (64, 1))
"""Channels and stride of the depthwise separable blocks: MobileNet-0.25 (Howard et al. 2017, table 1), cut short."""


def residual(input_shape=(28, 28, 1), num_classes=10) -> keras.Model:
    """Returns a residual classifier with 13 sites: a stem, and three stages of two blocks of two convolutions."""
    layers = keras.layers

    def convolution(x, filters, strides, size, name):
        x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False, name=f"{name}_conv")(x)
        return layers.BatchNormalization(name=f"{name}_norm")(x)

    inputs = keras.Input(input_shape)
    x = layers.Activation("silu", name="stem")(convolution(inputs, 8, 2, 3, "stem"))
    for stage, filters in enumerate((8, 16, 32)):
        for block in range(2):
            name, strides = f"stage{stage}_block{block}", 2 if stage and not block else 1
            inner = layers.Activation("silu", name=f"{name}_inner")(
                convolution(x, filters, strides, 3, f"{name}_inner")
            )
            inner = convolution(inner, filters, 1, 3, f"{name}_outer")
            if x.shape != inner.shape:
                x = convolution(x, filters, strides, 1, f"{name}_shortcut")
            x = layers.Activation("silu", name=f"{name}_outer")(layers.Add(name=f"{name}_add")([x, inner]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="head")(x), name="residual")


def mobilenet(input_shape: tuple[int, int, int] = (28, 28, 1), num_classes: int = 10) -> keras.Model:
    """Returns a classifier with 13 sites: a stem, and two in each of six depthwise separable blocks; logits."""
    image = image_input(input_shape, None)
    x = _normed(conv(image, "stem_conv", 8, 3, 2), "stem")
    for number, (filters, strides) in enumerate(BLOCKS):
        x = _normed(conv(x, f"block{number}_depthwise_conv", None, 3, strides), f"block{number}_depthwise")
        x = _normed(conv(x, f"block{number}_pointwise_conv", filters, 1), f"block{number}_pointwise")
    return classify(image, x, num_classes, None, "mobilenet", "head")


def _normed(x: Tensor, name: str) -> Tensor:
    # The momentum of statistics that have to follow a training of some thousand steps.
    return activate(keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x), "silu", name)


CLASSIFIERS = {"residual": residual, "mobilenet": mobilenet}
"""Name of a network -> function that returns it."""
