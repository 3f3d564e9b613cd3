"""The networks that are trained: small enough that hundreds of trainings take hours, with sites along a real depth."""

from __future__ import annotations

import keras


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
