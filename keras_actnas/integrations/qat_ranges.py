"""Ranges for a model that is to be trained quantization-aware, from images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_actnas.integrations.tf_keras_modules import tf_keras

_BATCH = 4


def calibrate(quantized: Any, plain: Any, images: list[np.ndarray]) -> None:
    """Gives every quantizer of a model the range that images have there.

    tfmot starts each range at [-6, 6] and moves it by a thousandth per step: a fine-tuning of a few hundred steps would
    end, and a test before it would be made, with ranges that have little to do with the network.

    Args:
      quantized: What `quantize_apply` returned.
      plain: The `tf_keras.Model` that it was made of, whose layers have the same names.
      images: For each input, an array of shape (images, ...).
    """
    quantizers = list(_activation_quantizers(quantized, plain))
    lows, highs = _ranges(plain, [tensor for tensor, _ in quantizers], images)
    for (_, variables), low, high in zip(quantizers, lows, highs, strict=True):
        variables["min_var"].assign(min(float(low), 0.0))  # Zero has to have an exact int8 value.
        variables["max_var"].assign(max(float(high), 0.0))
    for layer in quantized.layers:
        for weight, quantizer, variables in getattr(layer, "_weight_vars", []):
            quantizer(weight, True, variables)


def _activation_quantizers(quantized: Any, plain: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yields the tensors of `plain` that are quantized, each with the variables that hold its range."""
    inputs = iter(plain.inputs)
    for layer in quantized.layers:
        if hasattr(layer, "quantizer_vars"):  # Behind an input.
            yield next(inputs), layer.quantizer_vars
            continue
        if not hasattr(layer, "_quantize_activations"):
            continue
        own = plain.get_layer(layer.layer.name)
        if layer._output_quantizers:
            yield own.output, layer._output_quantizer_vars
        for activation in layer._quantize_activations:
            if activation._should_pre_quantize():
                yield own.input, activation._pre_activation_vars
            if activation._should_post_quantize():
                yield own.output, activation._post_activation_vars


def _ranges(plain: Any, tensors: list[Any], images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the smallest and the largest value of each tensor over all images."""
    view = tf_keras().Model(plain.inputs, tensors)
    lows, highs = np.full(len(tensors), np.inf), np.full(len(tensors), -np.inf)
    for start in range(0, len(images[0]), _BATCH):
        values = view([array[start : start + _BATCH] for array in images], training=False)
        lows = np.minimum(lows, [np.min(value) for value in values])
        highs = np.maximum(highs, [np.max(value) for value in values])
    return lows, highs
