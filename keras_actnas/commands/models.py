"""Which model a command is about: a YOLO by name, a .keras file, or a function."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
from pathlib import Path
from typing import Any

from absl import flags

from keras_actnas.core.errors import InputError, MissingDependencyError, closest


def define_model_flags(values: flags.FlagValues) -> None:
    """Defines the flags that `load_model` reads."""
    flags.DEFINE_string(
        "model",
        None,
        "A YOLO by name (yolov5n, yolov8s, yolo11n, ...), a .keras file, or module:function that returns a model.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "image_size",
        "640",
        "Image size of a YOLO by name, in pixels: 320, or 320x256 (height x width).",
        flag_values=values,
    )
    flags.DEFINE_integer("num_classes", 80, "Number of classes of a YOLO by name.", flag_values=values)
    flags.DEFINE_integer(
        "seed", 0, "Seed of everything random: weights, crops, design.", lower_bound=0, flag_values=values
    )


def parse_image_size(text: str) -> tuple[int, int]:
    """Returns (height, width) from `320` or `320x256`."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip())
    if not match:
        raise InputError(f"Expected --image_size such as 320 or 320x256. Received: {text!r}.")
    return int(match[1]), int(match[2] or match[1])


def load_model(values: Any, image_size: str | None = None) -> Any:
    """Returns the Keras model that `--model` names.

    Args:
      values: Parsed flags.
      image_size: In place of `--image_size`, for a YOLO by name.

    Raises:
      InputError: No such model, file or function; a file that Keras cannot read; a function that returns another thing.
    """
    spec = values.model
    if not spec:
        raise InputError("Expected --model: a YOLO by name, a .keras file, or module:function. Received: none.")
    keras = _keras()
    keras.utils.set_random_seed(values.seed)
    if spec.endswith((".keras", ".h5")):
        return _from_file(keras, Path(spec))
    if ":" in spec:
        return _from_function(keras, spec)
    from keras_actnas.models import YOLO, YOLO_NAMES

    if spec not in YOLO_NAMES:
        raise InputError(
            f"Expected --model to be a YOLO by name, a .keras file, or module:function. Received: {spec!r}."
            f"{closest(spec, YOLO_NAMES)}"
        )
    height, width = parse_image_size(image_size or values.image_size)
    return YOLO(spec, num_classes=values.num_classes, input_shape=(height, width, 3))


def is_named(spec: str) -> bool:
    """Whether `--model` is a network that can be built at any image size."""
    return not spec.endswith((".keras", ".h5")) and ":" not in spec


def _keras() -> Any:
    try:
        import keras
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(error.name or "tensorflow", "search", "This command") from error
    return keras


def _from_file(keras: Any, path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"Expected a .keras file. Received: {path}, which does not exist.")
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises many types, depending on what is missing or damaged.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"Expected a .keras file that Keras can load. Received: {path} ({reason[:200]}). If it has layers of your "
            "own, write a function that imports them and loads the file, and give --model=module:function."
        ) from error


def _from_function(keras: Any, spec: str) -> Any:
    module_name, _, function_name = spec.partition(":")
    with contextlib.suppress(ValueError):
        sys.path.remove("")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"Expected --model=module:function that can be imported. Received: {spec!r} ({error})."
        ) from error
    model = function()
    if not isinstance(model, keras.Model):
        raise InputError(f"Expected {spec} to return a keras.Model. Received: {type(model).__name__}.")
    return model
