"""From Keras to Ultralytics."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import keras

from keras_actnas.core import KNOWN, Assignment, InputError
from keras_actnas.integrations.exchange.checkpoint import read_checkpoint
from keras_actnas.integrations.exchange.to_keras import Source, is_description
from keras_actnas.integrations.exchange.weights import Slot, check, slots
from keras_actnas.integrations.torch_import import nn, torch
from keras_actnas.integrations.torch_sites import apply_assignment, inner_network
from keras_actnas.surgery import current_assignment

_CLASS_BIAS = re.compile(r"model\.\d+\.cv3\.0\.2\.bias")
_FIXED = ".dfl.conv.weight"
_COUNTER = ".num_batches_tracked"


def to_ultralytics(model: keras.Model, target: Source, trust: bool = False) -> Any:
    """Returns an Ultralytics `YOLO` with the weights and the activations of a Keras model.

    Every tensor is accounted for, and from there `from_ultralytics` gives the Keras model's weights back bit for bit.
    `YOLO.save` stores half precision, as Ultralytics does. `YOLO.train` keeps the weights, but of the activations only
    what the description says: train with `ActNASTrainer`.

    Args:
      model: A YOLO of `keras_actnas.models`, or of `from_ultralytics`, trained or with other activations.
      target: The network to give them to. A `YOLO` is changed and returned. A description, or the one in a checkpoint,
        is built anew, for the model's number of classes; a checkpoint's names of classes are kept.
      trust: Whether a checkpoint may run code of its own while it is loaded.

    Raises:
      InputError: The target cannot be opened, has another number of classes, or was fused; or a tensor or a site of one
        is not in the other. A `YOLO` is left as it was.

    Example:
      >>> yolo = to_ultralytics(model, "best.pt")  # doctest: +SKIP
      >>> yolo.save("edited.pt")  # doctest: +SKIP
    """
    from keras_actnas.integrations.exchange.description import keep_weights

    places = {name: slot for name, slot in slots(model).items() if not name.endswith(_FIXED)}
    yolo = _open_target(target, _classes(places), trust)
    network = inner_network(yolo)
    _check_tensors(network, places)
    apply_assignment(network, _activations(model, network))
    network.float()
    state = {name: torch.from_numpy(slot.read()) for name, slot in places.items()}
    network.load_state_dict(state, strict=False)  # What it leaves out was checked: counters, and the decoding.
    keep_weights(yolo)
    return yolo


def _open_target(target: Source, num_classes: int | None, trust: bool) -> Any:
    """Returns the `YOLO` to fill, with as many classes as the model."""
    from keras_actnas.integrations.exchange.description import build_network, read_description, wrap_network

    checkpoint = None
    if isinstance(target, (str, os.PathLike)) and not is_description(target):
        checkpoint = read_checkpoint(target, trust)
        described = getattr(checkpoint, "yaml", None)
        if not isinstance(described, Mapping):
            raise InputError(f"Expected a checkpoint that describes its network. Received: {target}, which does not.")
        _check_classes(checkpoint, num_classes)
        target = described
    if isinstance(target, (str, os.PathLike, Mapping)):
        network = build_network(read_description(target), num_classes)
        network.names = getattr(checkpoint, "names", network.names)
        return wrap_network(network)
    network = inner_network(target)
    if network is target:
        raise InputError("Expected a YOLO, a checkpoint (.pt) or a .yaml. Received: a network without its YOLO.")
    _check_classes(network, num_classes)
    return target


def _classes(places: Mapping[str, Slot]) -> int | None:
    """Returns how many classes a model tells apart; None when it is no YOLO, which checks of its tensors will say."""
    return next((slot.shape[0] for name, slot in places.items() if _CLASS_BIAS.fullmatch(name)), None)


def _check_classes(network: nn.Module, num_classes: int | None) -> None:
    classes = getattr(network.model[-1], "nc", None)
    if None not in (classes, num_classes) and classes != num_classes:
        raise InputError(
            f"Expected an Ultralytics network for {num_classes} classes, as the Keras model's. Received: one for "
            f"{classes}. Give the network's .yaml, which is built for any number."
        )


def _check_tensors(network: nn.Module, places: Mapping[str, Slot]) -> None:
    """Raises `InputError` unless the network and the model have the same tensors; activations bring their own."""
    state = network.state_dict()
    if not any(name.endswith(".bn.weight") for name in state):
        raise InputError(
            "Expected a network with its normalizations. Received: one that was fused, as `YOLO.predict` and "
            "`YOLO.val` do it. Load it again, or give its .pt or .yaml."
        )
    own = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith((_FIXED, _COUNTER))}
    given = {name: slot.shape for name, slot in places.items()}
    check(*({name: shape for name, shape in shapes.items() if ".act." not in name} for shapes in (own, given)))


def _activations(model: keras.Model, network: nn.Module) -> Assignment:
    """Returns the activations to put into a network: those of its sites, and of no others."""
    present = {name: module for name, module in network.named_modules(remove_duplicate=False) if name.endswith(".act")}
    # With all names, no activation is overlooked; convolutions without one are "identity", and no sites.
    named = current_assignment(model, include=KNOWN)
    wanted = {site: name for site, name in named.items() if site.endswith(".act")}
    bare = [site for site, module in present.items() if isinstance(module, nn.Identity)]
    lacking = [site for site in present if site not in wanted and site not in bare]
    if lacking:
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        raise InputError(
            f"Expected an activation with a name at every site of the network. Received: none at {lacking[0]}{more}; "
            "fold or replace layers of another kind first."
        )
    return Assignment((site, name) for site, name in wanted.items() if not (name == "identity" and site in bare))
