"""Batch normalizations that no convolution can take up, as 1x1 depthwise convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_actnas.integrations.tf_keras_modules import tf_keras

_FOLDING = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense")


def replace_lone_norms(model: Any) -> Any:
    """Returns a copy of a `tf_keras.Model` whose BatchNorms all stand right behind the convolution that takes them up.

    Elsewhere, as in the block of a collapsed AFRB, a normalization is a factor and a summand for each channel. tfmot
    has no quantization for that; a 1x1 depthwise convolution of the same outputs has one, and its weights are trained.
    A model without such normalizations is returned as it is.
    """
    lone = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization" and _is_lone(layer)]
    lone = [layer for layer in lone if len(layer.output.shape) == 4 and list(layer.axis) == [3]]
    if not lone:
        return model
    convolutions = {layer.name: tf_keras().layers.DepthwiseConv2D(1, name=layer.name) for layer in lone}

    def clone(layer: Any) -> Any:
        return convolutions.get(layer.name) or type(layer).from_config(layer.get_config())

    copy = tf_keras().models.clone_model(model, clone_function=clone)
    for layer in model.layers:
        weights = _factors(layer) if layer.name in convolutions else layer.get_weights()
        copy.get_layer(layer.name).set_weights(weights)
    return copy


def _is_lone(norm: Any) -> bool:
    before = norm.inbound_nodes[0].inbound_layers
    return (
        type(before).__name__ not in _FOLDING
        or len(before.outbound_nodes) > 1
        or before.activation is not tf_keras().activations.linear
    )


def _factors(norm: Any) -> list[np.ndarray]:
    """Returns kernel and bias of the depthwise convolution: gamma / sqrt(variance + epsilon), and what it leaves."""
    mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    scale = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * norm.gamma.numpy()
    shift = -mean * scale + (norm.beta.numpy() if norm.center else 0)
    return [scale.reshape(1, 1, -1, 1), shift]
