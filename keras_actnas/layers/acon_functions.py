"""ACON as functions of tensors, each in two forms: plain, and lean in what it keeps for the backward pass.

The first argument is a floating-point tensor of any shape; the parameters are tensors that broadcast against it, of
any floating-point type. The result has the shape and type of the first argument.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_actnas.layers.lean import Tensor, lean, sum_like


def acon_a(x: Tensor, beta: Tensor) -> Tensor:
    """Returns ACON-A: x sigmoid(beta x)."""
    return x * ops.sigmoid(_like(beta, x) * x)


def acon_b(x: Tensor, p: Tensor, beta: Tensor) -> Tensor:
    """Returns ACON-B, equation (3): ACON-C with p1 = 1 and p2 = p."""
    return acon_c(x, 1.0, p, beta)


def acon_c(x: Tensor, p1: Any, p2: Tensor, beta: Tensor) -> Tensor:
    """Returns ACON-C, equation (4), with x factored out: x ((p1 - p2) sigmoid(beta (p1 - p2) x) + p2)."""
    difference = p1 - p2
    gate = ops.sigmoid(_like(beta * difference, x) * x)
    return x * (_like(difference, x) * gate + _like(p2, x))


def _gradients_a(upstream: Tensor, x: Tensor, beta: Tensor) -> tuple[Tensor, ...]:
    slope, curvature = _derivatives(x, _like(beta, x))
    return upstream * slope, sum_like(upstream * (x * curvature) * x, beta)


def _gradients_b(upstream: Tensor, x: Tensor, p: Tensor, beta: Tensor) -> tuple[Tensor, ...]:
    by_x, _, by_p2, by_beta = _gradients(upstream, x, 1.0, p, beta)
    return by_x, sum_like(by_p2, p), sum_like(by_beta, beta)


def _gradients_c(upstream: Tensor, x: Tensor, p1: Tensor, p2: Tensor, beta: Tensor) -> tuple[Tensor, ...]:
    by_x, by_p1, by_p2, by_beta = _gradients(upstream, x, p1, p2, beta)
    return by_x, sum_like(by_p1, p1), sum_like(by_p2, p2), sum_like(by_beta, beta)


def _gradients(upstream: Tensor, x: Tensor, p1: Any, p2: Tensor, beta: Tensor) -> tuple[Tensor, ...]:
    """Returns the gradients with respect to x, p1, p2 and beta, the last three for each element of x."""
    difference = p1 - p2
    slope, curvature = _derivatives(x, _like(beta * difference, x))
    difference = _like(difference, x)
    weighted = upstream * x
    by_p1 = weighted * slope
    by_beta = ops.square(difference) * upstream * (x * curvature) * x
    return upstream * (difference * slope + _like(p2, x)), by_p1, weighted - by_p1, by_beta


def _derivatives(x: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
    """Returns d(x s)/dx and ds/d(rate x), where s = sigmoid(rate x).

    The curvature is tiny where x is large: multiplied with it first, products do not overflow in half precision.
    """
    s = ops.sigmoid(rate * x)
    curvature = s * (1 - s)
    return s + rate * (x * curvature), curvature


def _like(parameter: Tensor, x: Tensor) -> Tensor:
    return ops.cast(parameter, x.dtype)


lean_acon_a = lean(acon_a, _gradients_a)
lean_acon_b = lean(acon_b, _gradients_b)
lean_acon_c = lean(acon_c, _gradients_c)
