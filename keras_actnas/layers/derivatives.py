"""First derivatives of the activations that have no weights, as functions of a tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from keras_actnas.core.activations import canonical_name, leaky_slope
from keras_actnas.core.errors import InputError

Tensor = Any

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def derivative(activation: str) -> Callable[[Tensor], Tensor]:
    """Returns the derivative of an activation, element by element; at a kink the one that Keras's gradients have.

    Raises:
      InputError: The name is unknown, or the activation has weights (`prelu`).

    >>> ops.convert_to_numpy(derivative("relu")(ops.array([-1.0, 2.0]))).tolist()
    [0.0, 1.0]
    """
    activation = canonical_name(activation)
    slope = leaky_slope(activation)
    if slope is not None:
        return lambda x: ops.where(x > 0, ops.ones_like(x), ops.full_like(x, slope))
    if activation not in _DERIVATIVES:
        raise InputError(f"Expected an activation without weights. Received: {activation!r}.")
    return _DERIVATIVES[activation]


def _between(x: Tensor, low: float, high: float) -> Tensor:
    return ops.cast(ops.logical_and(x > low, x < high), x.dtype)


def _silu(x: Tensor) -> Tensor:
    s = ops.sigmoid(x)
    return s * (1 + x * (1 - s))


def _gelu(x: Tensor) -> Tensor:
    density = ops.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + ops.erf(x / math.sqrt(2))) + x * density


def _mish(x: Tensor) -> Tensor:
    t = ops.tanh(ops.softplus(x))
    return t + x * ops.sigmoid(x) * (1 - t * t)


def _sigmoid(x: Tensor) -> Tensor:
    s = ops.sigmoid(x)
    return s * (1 - s)


def _hard_swish(x: Tensor) -> Tensor:
    return ops.clip(x + 3, 0, 6) / 6 + x * _between(x, -3, 3) / 6


def _elu(x: Tensor) -> Tensor:
    return ops.exp(ops.minimum(x, 0))


_DERIVATIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: ops.sign(ops.relu(x)),  # Faster than a comparison on the torch backend.
    "relu6": lambda x: _between(x, 0, 6),
    "silu": _silu,
    "hard_swish": _hard_swish,
    "gelu": _gelu,
    "identity": ops.ones_like,
    "elu": _elu,
    "selu": lambda x: _SELU_SCALE * ops.where(x > 0, ops.ones_like(x), _SELU_ALPHA * _elu(x)),
    "mish": _mish,
    "softplus": ops.sigmoid,
    "tanh": lambda x: 1 - ops.square(ops.tanh(x)),
    "sigmoid": _sigmoid,
    "hard_sigmoid": lambda x: _between(x, -3, 3) / 6,
}
