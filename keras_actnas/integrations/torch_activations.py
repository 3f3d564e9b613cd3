"""Activations by name as modules of torch, with the values that Keras gives them here, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_actnas.core.activations import PRELU_START, canonical_name, leaky_slope
from keras_actnas.core.errors import InputError
from keras_actnas.integrations.torch_import import nn

_MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hard_swish": nn.Hardswish,
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "hard_sigmoid": nn.Hardsigmoid,
}
_NAMES = {module: name for name, module in _MODULES.items()}
ACTIVATION_CLASSES: tuple[Any, ...] = (*_MODULES.values(), nn.LeakyReLU, nn.PReLU)
"""Classes of torch that an activation with a name here may be of."""

# Of a class -> attribute and value without which the module is another function than the name says.
_ARGUMENTS: dict[Any, dict[str, Any]] = {
    nn.GELU: {"approximate": "none"},
    nn.ELU: {"alpha": 1.0},
    nn.Softplus: {"beta": 1.0},
}


def torch_activation(name: str, channels: int = 1) -> nn.Module:
    """Returns a fresh module of torch's own that computes an activation, never in place.

    Args:
      name: Name or alias.
      channels: Number of slopes of a PReLU; others have no use for it.

    Raises:
      InputError: The name is not known.

    >>> torch_activation("leaky_relu"), torch_activation("swish")
    (LeakyReLU(negative_slope=0.1), SiLU())
    """
    name = canonical_name(name)
    slope = leaky_slope(name)
    if slope is not None:
        return nn.LeakyReLU(slope)
    if name == "prelu":
        return nn.PReLU(channels, init=PRELU_START)
    return _MODULES[name]()


def torch_activation_name(module: nn.Module) -> str:
    """Returns the canonical name of the activation that a module computes: the inverse of `torch_activation`.

    Raises:
      InputError: It is no activation that has a name here.

    >>> torch_activation_name(nn.LeakyReLU(0.3))
    'leaky_relu(0.3)'
    """
    kind = type(module)
    if kind is nn.LeakyReLU:
        return canonical_name(f"leaky_relu({module.negative_slope:g})")
    if kind is nn.PReLU:
        return "prelu"
    expected = _ARGUMENTS.get(kind, {})
    if kind in _NAMES and all(getattr(module, key) == value for key, value in expected.items()):
        return _NAMES[kind]
    raise InputError(f"Expected an activation with a name here. Received: the torch module {module!r}.")
