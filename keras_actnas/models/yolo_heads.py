"""YOLOv8's anchor-free detection head, and the decoding of its maps into boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras

from keras_actnas.core import layer_name
from keras_actnas.core.anchors import BINS, STRIDES, anchor_grid
from keras_actnas.models.yolo_blocks import CHANNELS_LAST, Blocks, Tensor, plain_conv

BOX_BIAS = 1.0
"""Initial bias of the box maps. Decoding does not see it: a softmax ignores what all its logits share."""

# The prior of a class: about 5 objects in an image of 640 x 640 pixels, spread over the classes and the cells.
_PRIOR_OBJECTS, _PRIOR_SIZE = 5, 640


def detect(
    blocks: Blocks, features: Sequence[Tensor], path: str, num_classes: int, separable: bool
) -> list[tuple[Tensor, Tensor]]:
    """Applies the head to the feature map of each stride.

    Args:
      blocks: Makes the layers.
      features: Three maps (batch, height, width, channels), for `STRIDES`.
      path: The head's module path.
      num_classes: How many classes.
      separable: Whether the class branch uses depthwise separable convolutions, as YOLO11's does.

    Returns:
      For each stride the box map (batch, height, width, 64) and the class map (batch, height, width, num_classes).
    """
    finest = features[0].shape[-1]
    box_filters = max(finest // 4, 4 * BINS)
    class_filters = max(finest, min(num_classes, 100))
    maps = []
    for level, (x, stride) in enumerate(zip(features, STRIDES, strict=True)):
        box_path, class_path = f"{path}.cv2.{level}", f"{path}.cv3.{level}"
        box, scores = x, x
        for index in range(2):
            box = blocks.conv(box, f"{box_path}.{index}", box_filters, 3)
            if separable:
                scores = blocks.depthwise(scores, f"{class_path}.{index}.0")
                scores = blocks.conv(scores, f"{class_path}.{index}.1", class_filters)
            else:
                scores = blocks.conv(scores, f"{class_path}.{index}", class_filters, 3)
        prior = math.log(_PRIOR_OBJECTS / num_classes / (_PRIOR_SIZE / stride) ** 2)
        maps.append(
            (
                plain_conv(box, f"{box_path}.2", 4 * BINS, BOX_BIAS),
                plain_conv(scores, f"{class_path}.2", num_classes, prior),
            )
        )
    return maps


def decode_maps(maps: Sequence[tuple[Tensor, Tensor]], path: str) -> Tensor:
    """Turns head maps into boxes and class probabilities.

    A side's distance is the mean of its distribution, as a 1x1 convolution with the fixed weights 0 .. 15: a softmax
    and a convolution over all strides at once are all that TFLite sees of it.

    Args:
      maps: As `detect` returns them.
      path: The head's module path.

    Returns:
      A tensor (batch, anchors, 4 + num_classes): centre x, centre y, width and height in input pixels, then
      probabilities. The anchors are the cells of the three strides, each row by row.
    """

    def flatten(x: Tensor, name: str, *shape: int) -> Tensor:
        return keras.layers.Reshape((x.shape[1] * x.shape[2], *shape), name=layer_name(f"{path}.{name}"))(x)

    sizes = [(box.shape[1], box.shape[2]) for box, _ in maps]
    centres, strides = anchor_grid(sizes)
    sides = [flatten(box, f"box.{level}", 4, BINS) for level, (box, _) in enumerate(maps)]
    scores = [flatten(score, f"class.{level}", score.shape[-1]) for level, (_, score) in enumerate(maps)]
    distribution = keras.layers.Softmax(name=layer_name(f"{path}.dfl.softmax"))(keras.ops.concatenate(sides, axis=1))
    distances = keras.layers.Conv2D(
        1,
        1,
        data_format=CHANNELS_LAST,
        use_bias=False,
        kernel_initializer=keras.initializers.Constant([[float(index)] for index in range(BINS)]),
        trainable=False,
        name=layer_name(f"{path}.dfl.conv"),
    )(distribution)
    distances = keras.layers.Reshape((len(centres), 4), name=layer_name(f"{path}.dfl.distances"))(distances)
    left_top, right_bottom = keras.ops.split(keras.ops.multiply(distances, strides), 2, axis=-1)
    centre = keras.ops.add(keras.ops.multiply(keras.ops.subtract(right_bottom, left_top), 0.5), centres)
    size = keras.ops.add(left_top, right_bottom)
    # An operation, not an Activation layer: the probabilities are no site that a search may change.
    probabilities = keras.ops.sigmoid(keras.ops.concatenate(scores, axis=1))
    return keras.ops.concatenate([centre, size, probabilities], axis=-1)
