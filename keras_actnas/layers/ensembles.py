"""The two ensembles of PEA as functions of tensors, each plain and lean in what it keeps for the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_actnas.layers.derivatives import derivative
from keras_actnas.layers.lean import Tensor, lean
from keras_actnas.layers.named import activation_function

Activation = str | Callable[[Tensor], Tensor]
"""A canonical name, or a function, of which the derivative is not known here."""


def weighted(activation: Activation, keep_little: bool = False) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the function of x and alpha of equation (1), `alpha relu(x) + (1 - alpha) activation(x)`.

    Args:
      activation: The activation at alpha = 0.
      keep_little: Keep only x for the backward pass, where the activation's derivative is known by name.
    """
    smooth = activation_function(activation) if isinstance(activation, str) else activation

    def function(x: Tensor, alpha: Tensor) -> Tensor:
        return _mix(alpha, ops.relu(x), smooth(x))

    if not keep_little or not isinstance(activation, str):
        return function
    slope = derivative(activation)

    def gradients(upstream: Tensor, x: Tensor, alpha: Tensor) -> tuple[Tensor, ...]:
        return upstream * _mix(alpha, _step(x), slope(x)), ops.zeros_like(alpha)

    return lean(function, gradients)


def chosen(activation: Activation) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the function of x and r of equation (3): relu(x) where r is true, else activation(x).

    The backward pass keeps x and r, a byte an element, where the activation's derivative is known by name.
    """
    plain = weighted(activation)
    slope = derivative(activation) if isinstance(activation, str) else None

    def function(x: Tensor, r: Tensor) -> Tensor:
        def choose(x: Tensor) -> Tensor:
            return plain(x, ops.cast(r, x.dtype))

        def gradients(upstream: Tensor, x: Tensor) -> tuple[Tensor, ...]:
            assert slope is not None
            return (upstream * _mix(ops.cast(r, x.dtype), _step(x), slope(x)),)

        return choose(x) if slope is None else lean(choose, gradients)(x)

    return function


def _mix(share: Tensor, one: Tensor, other: Tensor) -> Tensor:
    # Exactly one or the other at shares of 1 and 0; on the torch backend faster than `where`.
    return share * one + (1 - share) * other


_step: Callable[[Any], Any] = derivative("relu")
