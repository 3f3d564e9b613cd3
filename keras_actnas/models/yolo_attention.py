"""YOLO11's attention block (C2PSA) as a Keras functional graph."""

from __future__ import annotations

import keras

from keras_actnas.core import layer_name
from keras_actnas.models.yolo_blocks import Blocks, Tensor, concat
from keras_actnas.models.yolo_families import Row

HEAD_CHANNELS = 64
"""Channels of the values of one attention head; queries and keys have half as many."""


def c2psa(blocks: Blocks, x: Tensor, path: str, row: Row) -> Tensor:
    """Applies attention to one half of the channels and merges it with the other half."""
    x = blocks.conv(x, f"{path}.cv1", 2 * row.hidden)
    kept, attended = keras.ops.split(x, 2, axis=-1)
    for index in range(row.repeats):
        attended = _attention_block(blocks, attended, f"{path}.m.{index}")
    return blocks.conv(concat([kept, attended], f"{path}.concat"), f"{path}.cv2", row.channels)


def _attention_block(blocks: Blocks, x: Tensor, path: str) -> Tensor:
    """Applies attention, then two 1x1 convolutions, each with a shortcut."""
    channels = x.shape[-1]
    x = keras.layers.Add(name=layer_name(f"{path}.attn.add"))([x, _attention(blocks, x, f"{path}.attn")])
    y = blocks.conv(x, f"{path}.ffn.0", 2 * channels)
    y = blocks.conv(y, f"{path}.ffn.1", channels, activate=False)
    return keras.layers.Add(name=layer_name(f"{path}.ffn.add"))([x, y])


def _attention(blocks: Blocks, x: Tensor, path: str) -> Tensor:
    """Applies multi-head self-attention over the pixels; a depthwise convolution of the values encodes positions."""
    _, height, width, channels = x.shape
    pixels, heads = height * width, max(channels // HEAD_CHANNELS, 1)
    value_size = channels // heads
    key_size = value_size // 2

    def reshape(y: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
        return keras.layers.Reshape(shape, name=layer_name(f"{path}.{name}"))(y)

    def permute(y: Tensor, axes: tuple[int, int, int], name: str) -> Tensor:
        return keras.layers.Permute(axes, name=layer_name(f"{path}.{name}"))(y)

    mixed = blocks.conv(x, f"{path}.qkv", heads * (2 * key_size + value_size), activate=False)
    mixed = reshape(mixed, (pixels, heads, 2 * key_size + value_size), "heads")
    query, key, value = keras.ops.split(mixed, [key_size, 2 * key_size], axis=-1)
    # Scaling the queries is cheaper than scaling the (pixels x pixels) scores.
    query = permute(keras.ops.multiply(query, key_size**-0.5), (2, 1, 3), "query")
    scores = keras.ops.matmul(query, permute(key, (2, 3, 1), "key"))
    weights = keras.layers.Softmax(name=layer_name(f"{path}.softmax"))(scores)
    y = keras.ops.matmul(weights, permute(value, (2, 1, 3), "value"))
    y = reshape(permute(y, (2, 1, 3), "merge"), (height, width, channels), "output")
    positions = blocks.depthwise(reshape(value, (height, width, channels), "positions"), f"{path}.pe", activate=False)
    y = keras.layers.Add(name=layer_name(f"{path}.pe.add"))([y, positions])
    return blocks.conv(y, f"{path}.proj", channels, activate=False)
