"""Gradients that keep a function's arguments, and nothing it computed on the way, for the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

Tensor = Any


def lean(function: Callable[..., Tensor], gradients: Callable[..., tuple[Tensor, ...]]) -> Callable[..., Tensor]:
    """Returns `function` with a gradient of its own, which computes again what it needs from the arguments.

    Automatic differentiation keeps the result of nearly every step of an elementwise formula. On the JAX backend the
    function that is returned has reverse-mode derivatives only.

    Args:
      function: From tensors to a tensor.
      gradients: From the gradient with respect to the result and the arguments of `function`, to the gradients with
        respect to each argument.
    """

    @ops.custom_gradient
    def with_gradient(*arguments: Tensor) -> Any:
        def gradient(*received: Tensor, upstream: Tensor = None) -> tuple[Tensor, ...]:
            if upstream is None:
                return gradients(*received, *arguments)
            return gradients(upstream, *received)  # The torch backend hands over what it kept.

        return function(*arguments), gradient

    return with_gradient


def sum_like(value: Tensor, parameter: Tensor) -> Tensor:
    """Sums over all axes along which `parameter` was broadcast, in the parameter's precision."""
    value = ops.cast(value, parameter.dtype)
    surplus = len(value.shape) - len(parameter.shape)
    axes = tuple(axis for axis, size in enumerate(parameter.shape, start=surplus) if size == 1)
    value = ops.sum(value, axis=axes, keepdims=True) if axes else value
    return ops.sum(value, axis=tuple(range(surplus))) if surplus else value
