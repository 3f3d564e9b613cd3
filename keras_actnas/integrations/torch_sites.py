"""The activation sites of an Ultralytics network, what stands there, and what is put there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.integrations.torch_activations import torch_activation, torch_activation_name
from keras_actnas.integrations.torch_import import nn

RECORD = "actnas"
"""Attribute of a network in which what was assigned is written down, as a plain dictionary that checkpoints keep."""

# Blocks whose `act` is a gate, part of what the block is, and no site.
_GATES = {"ChannelAttention"}


@dataclasses.dataclass(frozen=True)
class AppliedAssignment:
    """What was asked for, and what the network holds now.

    Attributes:
      requested: The sites that were asked for, with their activations.
      applied: All sites of the network, with the activations found there afterwards.
      changed: The sites whose activation is another than before, with the one before.
    """

    requested: Assignment
    applied: Assignment
    changed: Mapping[str, str]

    def __str__(self) -> str:
        held = len(self.requested) - len(self.requested.swaps(self.applied))
        return (
            f"{held} of {len(self.requested)} requested sites hold their activation; {len(self.changed)} were changed; "
            f"all {len(self.applied)}: {self.applied.summary()}"
        )


def current_torch_assignment(model: Any) -> Assignment:
    """Returns the activation of every site of an Ultralytics network, by module path.

    Args:
      model: A `YOLO`, or the `DetectionModel` in it.

    Raises:
      InputError: It has no sites, or a site holds something that is no activation with a name here.
    """
    network = inner_network(model)
    return Assignment((site, torch_activation_name(module)) for site, module in _sites(network).items())


def apply_assignment(model: Any, assignment: Mapping[str, str]) -> AppliedAssignment:
    """Puts a fresh activation at every site of an assignment, in place.

    Ultralytics shares one module among all sites (`Conv.default_act`), so a module that stays would be changed together
    with others. Weights are not trained: fine-tune the network before use, with `ActNASTrainer`, since `YOLO.train`
    alone builds the network again from its YAML, without what was put here.

    Args:
      model: A `YOLO`, or the `DetectionModel` in it.
      assignment: Site -> activation; sites that it leaves out keep theirs.

    Returns:
      What was requested and what the network holds afterwards, read back from it.

    Raises:
      InputError: The assignment names sites that the network does not have, or activations that are unknown.

    Example:
      >>> from ultralytics import YOLO
      >>> print(apply_assignment(YOLO("yolov5n.yaml"), {"model.0.act": "relu"}))  # doctest: +SKIP
      1 of 1 requested sites hold their activation; 1 were changed; all 69: silu x 68, relu x 1
    """
    network = inner_network(model)
    before = current_torch_assignment(network)
    requested = Assignment(assignment)
    before.check_sites(requested)
    for site, name in requested.items():
        parent = network.get_submodule(site.rpartition(".")[0])
        fresh = torch_activation(name, _channels(parent, site) if name == "prelu" else 1)
        own = next(parent.parameters(), None)
        if own is not None:
            fresh = fresh.to(own.device, own.dtype)
        parent.act = fresh.train(parent.training)
    wanted = before.with_swaps(requested)
    setattr(network, RECORD, {**getattr(network, RECORD, {}), "assignment": dict(wanted)})
    applied = current_torch_assignment(network)
    changed = {site: before[site] for site in applied.swaps(before)}
    return AppliedAssignment(requested, applied, changed)


def inner_network(model: Any) -> nn.Module:
    """Returns the network inside of a `YOLO`, or a network as it is; raises `InputError` for anything else."""
    network = getattr(model, "model", None)
    if isinstance(model, nn.Module) and isinstance(network, nn.Sequential):
        return model
    if isinstance(network, nn.Module) and isinstance(getattr(network, "model", None), nn.Sequential):
        return network
    raise InputError(f"Expected a YOLO of Ultralytics, or the network in it. Received: {type(model).__name__}.")


def _sites(network: nn.Module) -> dict[str, nn.Module]:
    # Also what an assignment has made an identity; without it, that is how Ultralytics writes "no activation".
    recorded = getattr(network, RECORD, {}).get("assignment", {})
    sites = {}
    for path, module in network.named_modules(remove_duplicate=False):
        parent, _, attribute = path.rpartition(".")
        if attribute != "act" or type(network.get_submodule(parent)).__name__ in _GATES:
            continue
        if path in recorded or not isinstance(module, nn.Identity):
            sites[path] = module
    if not sites:
        raise InputError(f"Expected a network with activations. Received: {type(network).__name__}, which has none.")
    return sites


def _channels(parent: nn.Module, site: str) -> int:
    """Returns how many channels the activation of a convolution gets."""
    for name in ("bn", "conv", "conv_transpose", "conv1"):
        module = getattr(parent, name, None)
        channels = getattr(module, "num_features", None) or getattr(module, "out_channels", None)
        if channels:
            return int(channels)
    raise InputError(f"Expected a convolution before {site}, for the channels of a PReLU. Received: {parent!r}.")
