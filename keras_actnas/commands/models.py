"""Which model a command is about: a YOLO by name, a .keras file, an Ultralytics checkpoint, or a function."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from keras_actnas.core.errors import InputError, MissingDependencyError, closest

_FILES = (".keras", ".h5")
_ULTRALYTICS = (".pt", ".yaml", ".yml")
_EXPECTED = "a YOLO by name, a .keras file, an Ultralytics checkpoint (.pt) or network (.yaml), or module:function"


def define_model_flags(values: flags.FlagValues) -> None:
    """Defines the flags that `load_model` reads."""
    flags.DEFINE_string(
        "model",
        None,
        "A YOLO by name (yolov5n, yolov8s, yolo11n, ...), a .keras file, an Ultralytics checkpoint for detection "
        "(best.pt) or description (.yaml), or module:function that returns a model.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "image_size",
        "640",
        "Image size of a YOLO by name or of Ultralytics, in pixels: 320, or 320x256 (height x width).",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "num_classes", 80, "Number of classes of a YOLO by name; one of Ultralytics has its own.", flag_values=values
    )
    flags.DEFINE_boolean(
        "trust_checkpoint", False,
        "Whether an Ultralytics checkpoint may run code of its own while it is loaded: files of people you trust only.",
        flag_values=values,
    )  # fmt: skip
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
      image_size: In place of `--image_size`, for a YOLO by name or of Ultralytics.

    Raises:
      InputError: No such model, file or function; a file that Keras cannot read, or an Ultralytics network that has no
        counterpart here; a function that returns another thing.
    """
    spec = values.model
    if not spec:
        raise InputError(f"Expected --model: {_EXPECTED}. Received: none.")
    with _without_notices():
        keras = _keras()
        keras.utils.set_random_seed(values.seed)
    if not is_named(spec):
        model = _from_file(keras, Path(spec)) if spec.endswith(_FILES) else _from_function(keras, spec)
        _check_image_size(values, model)
        return model
    size = parse_image_size(image_size or values.image_size)
    if spec.endswith(_ULTRALYTICS):
        return _from_ultralytics(values, size)
    from keras_actnas.models import YOLO, YOLO_NAMES

    if spec not in YOLO_NAMES:
        raise InputError(f"Expected --model to be {_EXPECTED}. Received: {spec!r}.{closest(spec, YOLO_NAMES)}")
    return YOLO(spec, num_classes=values.num_classes, input_shape=(*size, 3))


def check_new_file(path: str, overwrite: bool, flag: str = "--out") -> None:
    """Raises `InputError` when a file exists that may not be overwritten."""
    if Path(path).exists() and not overwrite:
        raise InputError(f"Expected {flag} to be a new file. Received: {path}, which exists; give --overwrite.")


def is_named(spec: str) -> bool:
    """Whether `--model` is a network that can be built at any image size."""
    return spec.endswith(_ULTRALYTICS) or (not spec.endswith(_FILES) and ":" not in spec)


@contextlib.contextmanager
def _without_notices() -> Iterator[None]:
    """Keeps what TensorFlow writes to stderr while it starts, whatever its log level, from drowning our messages."""
    sys.stderr.flush()
    own = os.dup(2)
    try:
        with open(os.devnull, "wb") as null:  # noqa: PTH123
            os.dup2(null.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(own, 2)
        os.close(own)


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
        from keras_actnas.export.keras_files import loading_problem

        raise InputError(
            f"Expected a .keras file that Keras can load. Received: {path} ({loading_problem(error)}). "
            "If it has layers of your own, write a function that imports them and loads the file, and give "
            "--model=module:function."
        ) from error


def _from_ultralytics(values: Any, size: tuple[int, int]) -> Any:
    from keras_actnas.integrations.exchange.to_keras import from_ultralytics
    from keras_actnas.integrations.torch_import import torch

    torch.manual_seed(values.seed)  # Of the weights of a description, which Ultralytics makes.
    num_classes = values.num_classes if values["num_classes"].present else None
    return from_ultralytics(values.model, (*size, 3), num_classes, trust=values.trust_checkpoint)


def _from_function(keras: Any, spec: str) -> Any:
    module_name, _, function_name = spec.partition(":")
    with contextlib.suppress(ValueError):
        sys.path.remove("")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # The module is the user's: it may raise anything.
        raise InputError(
            f"Expected --model=module:function that can be imported. Received: {spec!r} "
            f"({type(error).__name__}: {error})."
        ) from error
    try:
        model = function()
    except Exception as error:
        raise InputError(
            f"Expected {spec} to return a keras.Model when it is called without arguments. "
            f"Received: {type(error).__name__}: {error}."
        ) from error
    if not isinstance(model, keras.Model):
        raise InputError(f"Expected {spec} to return a keras.Model. Received: {type(model).__name__}.")
    return model


def _check_image_size(values: Any, model: Any) -> None:
    """Raises `InputError` when `--image_size` is given and a model that is not built by name has another."""
    own = tuple(model.inputs[0].shape[1:3]) if getattr(model, "inputs", None) else ()
    if values["image_size"].present and parse_image_size(values.image_size) != own:
        raise InputError(
            f"Expected no --image_size, which is for a YOLO by name or of Ultralytics: {values.model} has its own, "
            f"{own}. Received: {values.image_size!r}."
        )
