"""The activations as NumPy functions in float64: what every name means."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from keras_actnas.core.activations import canonical_name, leaky_slope
from keras_actnas.core.errors import InputError

Curve = Callable[[np.ndarray], np.ndarray]

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0.0)))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)


_CURVES: dict[str, Curve] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "relu6": lambda x: np.clip(x, 0.0, 6.0),
    "silu": lambda x: x * _sigmoid(x),
    "hard_swish": lambda x: x * np.clip(x + 3.0, 0.0, 6.0) / 6.0,
    "gelu": lambda x: 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))),
    "identity": lambda x: x,
    "elu": _elu,
    "selu": lambda x: _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0.0))),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "softplus": _softplus,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "hard_sigmoid": lambda x: np.clip(x + 3.0, 0.0, 6.0) / 6.0,
}


def curve(name: str) -> Curve:
    """Returns an activation as a NumPy function of float64 arrays, element by element.

    Raises:
      InputError: The name is unknown, or the activation has weights (`prelu`).

    >>> curve("leaky_relu")(np.array([-1.0, 2.0]))
    array([-0.1,  2. ])
    """
    name = canonical_name(name)
    slope = leaky_slope(name)
    if slope is not None:
        return lambda x: np.where(x > 0, x, slope * x)
    if name not in _CURVES:
        raise InputError(f"Expected an activation without weights. Received: {name!r}.")
    return _CURVES[name]


def curve_difference(names: list[str], reference: str) -> np.ndarray:
    """Returns how alike activations are in what they change: E[(f_a(x) - f_ref(x)) (f_b(x) - f_ref(x))], x ~ N(0, 1).

    Args:
      names: Activations.
      reference: The activation that they take the place of.

    Returns:
      Array of shape (names, names), positive semidefinite. An activation with weights counts as identity.
    """
    grid = np.linspace(-6.0, 6.0, 4801)
    weight = np.exp(-(grid**2) / 2)
    weight /= weight.sum()
    values = {name: curve("identity" if name == "prelu" else name)(grid) for name in {*names, reference}}
    differences = np.array([values[name] - values[reference] for name in names])
    return (differences * weight) @ differences.T
