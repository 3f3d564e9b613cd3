"""Which Ultralytics network a Keras model has come from, so that it can be built in torch again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import keras

from keras_actnas.core.errors import InputError
from keras_actnas.integrations.torch_import import nn
from keras_actnas.models.yolo_families import YOLO_NAMES

_DESCRIPTION = "ultralytics_description"


def remember_description(model: keras.Model, network: nn.Module) -> None:
    """Notes on a Keras model how Ultralytics describes the network that it was made of, where the network says so."""
    described = getattr(network, "yaml", None)
    if isinstance(described, Mapping):
        # As text: Keras would wrap a dictionary. The note is Python's alone, and is not in a .keras file.
        setattr(model, _DESCRIPTION, json.dumps(dict(described), default=str))


def description_of(model: keras.Model) -> dict[str, Any] | str:
    """Returns what builds a model's network in torch: its description, or the name of one that Ultralytics has.

    The image size does not count: these networks are the same at all.

    Args:
      model: What `from_ultralytics` returned, or a YOLO of `keras_actnas.models`, by its name.

    Raises:
      InputError: It is neither.
    """
    noted = getattr(model, _DESCRIPTION, None)
    if noted is not None:
        return dict(json.loads(noted))
    if model.name in YOLO_NAMES:
        return f"{model.name}.yaml"
    raise InputError(
        f"Expected a network of Ultralytics: --model=best.pt, a network's .yaml, or a YOLO by name such as yolov5n. "
        f"Received: {model.name!r}, which is none, or has lost in a .keras file what built it."
    )
