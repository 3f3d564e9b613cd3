"""YOLO: the published detectors as Keras models with an activation of choice at every site."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence

import keras

from keras_actnas.core import Assignment, InputError, canonical_name
from keras_actnas.core.anchors import STRIDES
from keras_actnas.models.yolo_attention import c2psa
from keras_actnas.models.yolo_blocks import Blocks, Tensor, concat, upsample
from keras_actnas.models.yolo_families import Layout, Row, find
from keras_actnas.models.yolo_heads import decode_maps, detect

DEFAULT_ACTIVATION = "silu"


def YOLO(  # noqa: N802 (the network's name)
    name: str,
    num_classes: int = 80,
    input_shape: Sequence[int] = (640, 640, 3),
    activations: str | Mapping[str, str] = DEFAULT_ACTIVATION,
    batch_size: int | None = None,
    decode: bool = False,
) -> keras.Model:
    """Returns a YOLO detector with random weights.

    The networks are those of Ultralytics: YOLOv5 (v6 body with the YOLOv8 head, the paper's YOLOv5n), YOLOv8, YOLO11.
    A layer is named by its Ultralytics module path with hyphens for dots: the site `model.2.cv1.act` is the layer
    `model-2-cv1-act`, the weights of `model.2.cv1.conv` are in `model-2-cv1-conv`. The model consists of stock Keras
    layers, so a saved file loads without this package. Initial weights follow PyTorch's defaults and
    `keras.utils.set_random_seed`.

    Args:
      name: One of `YOLO_NAMES`, such as `"yolov5n"`.
      num_classes: How many classes the head tells apart.
      input_shape: Height, width and channels of the images; height and width are multiples of 32. Images hold values
        in 0 .. 1, channels last.
      activations: The activation of every site, or site -> activation for some of them (the others are SiLU).
      batch_size: A fixed batch size, or None. TFLite conversion wants 1.
      decode: Whether the model decodes its head maps. For integer quantization keep the maps: boxes in pixels and
        probabilities do not fit one integer scale.

    Returns:
      A functional model. With `decode=False` its output is a list of three maps for the strides 8, 16 and 32, each
      (batch, height, width, 64 + num_classes): 4 x 16 logits of the box sides' distances (left, top, right, bottom),
      then class logits. With `decode=True` it is one tensor (batch, anchors, 4 + num_classes): centre x, centre y,
      width, height in input pixels, then class probabilities; no suppression of overlapping boxes.
      Ultralytics counts the 16 fixed weights of the decoding as parameters and the statistics of BatchNorm not: the
      published counts are those of `decode=True`, `decode=False` has 16 fewer.

    Raises:
      InputError: An argument cannot be used; an assignment names a site that the network does not have, or an
        activation that no plain Keras layer applies.

    >>> model = YOLO("yolov5n", input_shape=(64, 96, 3), activations={"model.0.act": "relu"})
    >>> [tuple(output.shape) for output in model.outputs]
    [(None, 8, 12, 144), (None, 4, 6, 144), (None, 2, 3, 144)]
    """
    layout = find(name)
    uniform, assignment = _parse_activations(activations)
    model, sites = build_yolo(
        layout, name.lower(), num_classes, input_shape, lambda site: assignment.get(site, uniform), batch_size, decode
    )
    Assignment.uniform(sites, uniform).check_sites(assignment)
    return model


def build_yolo(
    layout: Layout,
    name: str,
    num_classes: int,
    input_shape: Sequence[int],
    activation_of: Callable[[str], str],
    batch_size: int | None = None,
    decode: bool = False,
) -> tuple[keras.Model, list[str]]:
    """Returns a detector of any layout, not only of a published one, and its sites in order of execution.

    Args:
      layout: What the detector is made of.
      name: The model's name.
      num_classes: As of `YOLO`.
      input_shape: As of `YOLO`.
      activation_of: Site -> canonical name of its activation.
      batch_size: As of `YOLO`.
      decode: As of `YOLO`.

    Raises:
      InputError: An argument cannot be used.
    """
    _check_positive("num_classes", num_classes)
    if batch_size is not None:
        _check_positive("batch_size", batch_size)
    shape = checked_input_shape(input_shape)

    blocks = Blocks(activation_of)
    images = keras.Input(shape, batch_size=batch_size, name="images")
    outputs: list[Tensor] = []
    for index, row in enumerate(layout.rows):
        previous = outputs[-1] if outputs else images
        outputs.append(_apply(blocks, row, previous, outputs, f"model.{index}"))
    head = f"model.{len(layout.rows)}"
    features = [outputs[level] for level in layout.levels]
    maps = detect(blocks, features, head, num_classes, layout.separable_head)
    if decode:
        return keras.Model(images, decode_maps(maps, head), name=name), blocks.sites
    raw = [concat([box, scores], f"{head}.stride{stride}") for (box, scores), stride in zip(maps, STRIDES, strict=True)]
    return keras.Model(images, raw, name=name), blocks.sites


def _apply(blocks: Blocks, row: Row, x: Tensor, outputs: Sequence[Tensor], path: str) -> Tensor:
    """Applies one row of a family to the previous row's output."""
    if row.block == "conv":
        return blocks.conv(x, path, row.channels, row.kernel, row.stride)
    if row.block == "concat":
        return concat([x, outputs[row.skip]], path)
    if row.block == "upsample":
        return upsample(x)
    if row.block == "c2psa":
        return c2psa(blocks, x, path, row)
    block = {"c3": blocks.c3, "c2f": blocks.c2f, "c3k2": blocks.c3k2, "sppf": blocks.sppf}[row.block]
    return block(x, path, row)


def _parse_activations(activations: str | Mapping[str, str]) -> tuple[str, Assignment]:
    """Returns the activation of sites that are not assigned one, and the assignment."""
    if isinstance(activations, Mapping):
        return DEFAULT_ACTIVATION, Assignment(activations)
    if isinstance(activations, str):
        return canonical_name(activations), Assignment()
    raise InputError(f"Expected an activation's name or a mapping of site: activation. Received: {activations!r}.")


def _check_positive(argument: str, value: object) -> None:
    if not _is_integer(value) or value < 1:  # type: ignore[operator]
        raise InputError(f"Expected `{argument}` to be an integer of at least 1. Received: {value!r}.")


def checked_input_shape(input_shape: Sequence[int]) -> tuple[int, int, int]:
    """Returns an input shape as integers; raises `InputError` when it is not one of a detector."""
    shape = tuple(input_shape) if isinstance(input_shape, Sequence) and not isinstance(input_shape, str) else ()
    if len(shape) != 3 or not all(_is_integer(size) and size > 0 for size in shape):
        raise InputError(
            f"Expected `input_shape` as (height, width, channels), such as (640, 640, 3). Received: {input_shape!r}."
        )
    height, width, channels = (int(size) for size in shape)
    if height % STRIDES[-1] or width % STRIDES[-1]:
        raise InputError(
            f"Expected height and width in `input_shape` to be multiples of {STRIDES[-1]}, "
            f"such as (640, 640, 3). Received: {input_shape!r}."
        )
    return height, width, channels


def _is_integer(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
