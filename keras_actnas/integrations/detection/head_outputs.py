"""What a YOLO's head puts out, decoded with NumPy: boxes in input pixels, and class probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_actnas.core.anchors import BINS, STRIDES, anchor_grid
from keras_actnas.core.errors import InputError


def count_classes(shapes: Sequence[Sequence[int | None]], input_size: tuple[int, int], name: str) -> int:
    """Returns how many classes a network tells apart, by the shapes of its outputs.

    Args:
      shapes: Of every output, batch first: three maps (batch, height, width, 64 + classes) for the strides 8, 16 and
        32 in any order, or one tensor (batch, anchors, 4 + classes).
      input_size: Height and width of the input, in pixels.
      name: What the network is called in messages.

    Raises:
      InputError: The outputs are not those of a YOLO of `keras_actnas.models`.

    >>> count_classes([(1, 4, 6, 144), (1, 8, 12, 144), (1, 2, 3, 144)], (64, 96), "model.tflite")
    80
    """
    height, width = input_size
    sizes = [(height // stride, width // stride) for stride in STRIDES]
    channels = {shape[-1] or 0 for shape in shapes}
    if height % STRIDES[-1] == 0 and width % STRIDES[-1] == 0 and len(channels) == 1:
        classes = channels.pop()
        if sorted((tuple(shape[1:-1]) for shape in shapes), reverse=True) == sizes and classes > 4 * BINS:
            return classes - 4 * BINS
        anchors = sum(rows * columns for rows, columns in sizes)
        if [tuple(shape[1:-1]) for shape in shapes] == [(anchors,)] and classes > 4:
            return classes - 4
    raise InputError(
        f"Expected a YOLO with the output of keras_actnas.models.YOLO: three maps, for {input_size} pixels of "
        f"{sizes} cells with {4 * BINS} + classes channels, or one tensor (batch, anchors, 4 + classes). "
        f"Received: {name} with outputs of shape {[tuple(shape) for shape in shapes]}."
    )


def decode(outputs: Sequence[np.ndarray], input_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the boxes and class probabilities of all anchors of one image.

    A side's distance is the mean of its distribution over `BINS` distances (Generalized Focal Loss, Li et al. 2020,
    equation 4); the same as `keras_actnas.models.yolo_heads.decode_maps`, where there is no Keras.

    Args:
      outputs: Of a network that `count_classes` accepts, with a batch of 1.
      input_size: Height and width of the input, in pixels.

    Returns:
      Boxes (anchors, 4) as left, top, right, bottom in input pixels, and probabilities (anchors, classes).
    """
    if len(outputs) == 1:
        centre, size, probabilities = np.split(outputs[0][0], [2, 4], axis=-1)
        return np.concatenate([centre - size / 2, centre + size / 2], axis=-1), probabilities
    # The runtime may give the maps in another order than the model has them.
    maps = sorted((output[0] for output in outputs), key=lambda one: -one.shape[0])
    centres, strides = anchor_grid([one.shape[:2] for one in maps])
    cells = np.concatenate([one.reshape(-1, one.shape[-1]) for one in maps])
    sides = _softmax(cells[:, : 4 * BINS].reshape(-1, 4, BINS)) @ np.arange(BINS, dtype=cells.dtype) * strides
    boxes = np.concatenate([centres - sides[:, :2], centres + sides[:, 2:]], axis=-1)
    return boxes, _sigmoid(cells[:, 4 * BINS :])


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -logits))  # exp(-logits) itself overflows for a class that is surely not there.
