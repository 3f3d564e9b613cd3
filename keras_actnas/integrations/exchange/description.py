"""Ultralytics' descriptions of networks (.yaml), and what is built from them."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping
from typing import Any

from keras_actnas.core.errors import InputError, MissingDependencyError
from keras_actnas.integrations.exchange.layout import SUPPORTED, check_task
from keras_actnas.integrations.torch_import import nn

try:
    from ultralytics import YOLO
    from ultralytics.nn.tasks import DetectionModel, yaml_model_load
except ImportError as error:
    raise MissingDependencyError(error.name or "ultralytics", "ultralytics", "Building a network of a .yaml") from error

# Any description of a detection network does: the network that it gives is replaced.
_ANY = "yolov8n.yaml"
_ACTIVATION = re.compile(r"(torch\.)?nn\.\w+\([\w\s.,=+-]*\)")


def read_description(source: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of a network's description, from its file or the name of one that Ultralytics knows.

    Raises:
      InputError: There is no such description, it is for another task or has unsupported modules, or its `activation`
        is more than a module of torch: Ultralytics evaluates it as Python.

    >>> read_description("yolov5s.yaml")["scale"]
    's'
    """
    if isinstance(source, Mapping):
        content, shown = copy.deepcopy(dict(source)), "a description"
    else:
        shown = str(source)
        try:
            content = yaml_model_load(source)
        except Exception as error:  # Of many types, by what is wrong with the file.
            raise _unusable(shown, error) from error
    try:
        kinds = [str(kind).removeprefix("nn.") for _, _, kind, _ in [*content["backbone"], *content["head"]]]
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable(shown, error) from error
    check_task(kinds[-1] if kinds else "")
    # Ultralytics looks names up among all that it has imported: a function would be called.
    unsupported = sorted(set(kinds) - {*SUPPORTED})
    if unsupported:
        raise InputError(
            f"Expected a network of {', '.join(SUPPORTED)}. Received: {shown} with {', '.join(unsupported)}."
        )
    activation = content.get("activation")
    if activation and not _ACTIVATION.fullmatch(str(activation)):
        raise InputError(
            f"Expected an activation such as nn.ReLU() in {shown}, since it is evaluated as Python. "
            f"Received: {activation!r}."
        )
    return content


def build_network(description: Mapping[str, Any], num_classes: int | None = None) -> nn.Module:
    """Returns the network of a description, with the weights that Ultralytics starts training with.

    Raises:
      InputError: It cannot be built.
    """
    content = copy.deepcopy(dict(description))
    if num_classes is not None:
        content["nc"] = num_classes
    channels = content.get("channels") or content.get("ch") or 3
    try:
        return DetectionModel(content, ch=channels, verbose=False).eval()
    except Exception as error:
        raise _unusable(str(content.get("yaml_file", "a description")), error) from error


def wrap_network(network: nn.Module) -> Any:
    """Returns a `YOLO` of a network, whose `train` starts from the network's weights."""
    yolo = YOLO(_ANY, task="detect", verbose=False)
    network.args, network.task = yolo.model.args, yolo.task
    yolo.model = network
    yolo.cfg = yolo.model_name = yolo.overrides["model"] = str(network.yaml.get("yaml_file") or "yolo.yaml")
    keep_weights(yolo)
    return yolo


def keep_weights(yolo: Any) -> None:
    """Makes `yolo.train` start from the weights in memory: without a checkpoint it starts from new ones."""
    yolo.ckpt, yolo.ckpt_path, yolo.predictor = {"model": yolo.model}, None, None
    yolo.overrides.pop("pretrained", None)


def _unusable(shown: str, error: Exception) -> InputError:
    return InputError(
        f"Expected the description of a detection network that Ultralytics can build. Received: {shown} "
        f"({type(error).__name__}: {str(error).rstrip('.')})."
    )
