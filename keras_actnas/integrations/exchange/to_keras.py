"""From Ultralytics to Keras."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_actnas.core import InputError
from keras_actnas.integrations.exchange.checkpoint import read_checkpoint
from keras_actnas.integrations.exchange.layout import read_activations, read_layout
from keras_actnas.integrations.exchange.origin import remember_description
from keras_actnas.integrations.exchange.weights import load
from keras_actnas.integrations.torch_import import nn
from keras_actnas.integrations.torch_sites import inner_network
from keras_actnas.models.yolo import build_yolo, checked_input_shape

Source = str | os.PathLike[str] | Mapping[str, Any] | Any
"""A .pt file, a .yaml file or its name or content, a `YOLO`, or the network in it."""


def from_ultralytics(
    source: Source,
    input_shape: Sequence[int] = (640, 640, 3),
    num_classes: int | None = None,
    batch_size: int | None = None,
    decode: bool = False,
    trust: bool = False,
) -> keras.Model:
    """Returns an Ultralytics detection network as a Keras model with its weights and activations.

    The YOLOv5u, YOLOv8 and YOLO11 families, of any depth, width and number of classes. Layers are named, and outputs
    are, as those of `keras_actnas.models.YOLO`; every tensor of the network is accounted for. Where a convolution's
    activation was taken out (`nn.Identity`), the model has a linear one, so a site it stays.

    Args:
      source: A checkpoint (`best.pt`), a `YOLO` or the network in it, or a network's description: `"yolov5n.yaml"`, a
        .yaml file, or its content, which gives random weights as Ultralytics makes them (`torch.manual_seed`). A
        checkpoint is read without running what it may bring along.
      input_shape: Height, width and channels of the images; height and width are multiples of 32. Images hold values
        in 0 .. 1, RGB, channels last.
      num_classes: How many classes the network tells apart. A description is built with as many, anything else has to
        have them; None for its own.
      batch_size: A fixed batch size, or None.
      decode: Whether the model decodes its head maps, as of `YOLO`.
      trust: Whether a checkpoint may run code of its own while it is loaded.

    Raises:
      InputError: There is no such file, it cannot be read safely, the network is for another task or has unsupported
        modules or other numbers of classes or of image channels than asked for, or a tensor is left over.
      MissingDependencyError: torch, or for a description Ultralytics, is not installed.

    Example:
      >>> model = from_ultralytics("yolov5n.yaml", input_shape=(320, 320, 3))  # doctest: +SKIP
      >>> model.count_params()  # doctest: +SKIP
      2666032
    """
    shape = checked_input_shape(input_shape)
    network = open_network(source, num_classes, trust)
    layout, activations = read_layout(network), read_activations(network)
    channels = network.model[0].conv.in_channels
    if shape[2] != channels:
        raise InputError(f"Expected images of {channels} channels, as the network's. Received: {input_shape!r}.")
    model, sites = build_yolo(
        layout,
        _name(source, network),
        network.model[-1].nc,
        shape,
        # A convolution that lacks its activation lacks its weights, too: `load` says so.
        lambda site: activations.get(site, "identity"),
        batch_size,
        decode,
    )
    beyond = [site for site, activation in activations.items() if activation != "identity" and site not in sites]
    if beyond:
        raise InputError(f"Expected no activation where these networks have none. Received: one at {beyond[0]}.")
    load(model, {name: tensor.detach().float().cpu().numpy() for name, tensor in network.state_dict().items()})
    remember_description(model, network)
    return model


def open_network(source: Source, num_classes: int | None = None, trust: bool = False) -> nn.Module:
    """Returns the torch network of a source, or its skeleton; arguments and errors as of `from_ultralytics`."""
    if is_description(source):
        from keras_actnas.integrations.exchange.description import build_network, read_description

        return build_network(read_description(source), num_classes)
    if isinstance(source, (str, os.PathLike)):
        if not str(source).endswith(".pt"):
            raise InputError(f"Expected a checkpoint (.pt) or a network's .yaml. Received: {str(source)!r}.")
        network = read_checkpoint(source, trust)
    else:
        network = inner_network(source)
    classes = getattr(network.model[-1], "nc", None)
    if num_classes is not None and classes not in (None, num_classes):
        raise InputError(
            f"Expected {num_classes} classes (--num_classes). Received: a network for {classes}, whose weights fit no "
            "other number."
        )
    return network


def is_description(source: Source) -> bool:
    """Returns whether a source is the description of a network, without weights."""
    is_path = isinstance(source, (str, os.PathLike))
    return isinstance(source, Mapping) or (is_path and str(source).endswith((".yaml", ".yml")))


def _name(source: Source, network: nn.Module) -> str:
    """Returns a model's name: of the file, else of the description that the network was built from."""
    described = (getattr(network, "yaml", None) or {}).get("yaml_file")
    path = source if isinstance(source, (str, os.PathLike)) else described or "yolo"
    return re.sub(r"[^\w.-]", "_", Path(path).stem)
