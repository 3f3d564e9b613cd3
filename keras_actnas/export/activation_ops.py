"""How TFLite spells each activation: as a fused function of the operator before it, or as operators of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from keras_actnas.core.activations import leaky_slope
from keras_actnas.core.errors import InputError
from keras_actnas.export.schema import schema

SUPPORTED = ("relu", "silu", "hard_swish", "relu6", "leaky_relu", "gelu", "elu", "identity")
"""Activations that graph editing can put at a site; `leaky_relu(slope)` too. `elu` has no int8 kernel."""

# Where the converter fuses a ReLU into the operator before it, besides a transposed convolution with a bias (measured:
# concatenation, mean, maximum, sum, matrix product of two tensors, 3D convolution, pad, resize and a transposed
# convolution without bias keep a RELU operator of their own).
FUSING = frozenset(
    ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL", "DIV", "MAX_POOL_2D", "AVERAGE_POOL_2D"]
)


def is_editable(activation: str) -> bool:
    """Returns whether graph editing can put an activation at a site."""
    return activation in SUPPORTED or leaky_slope(activation) is not None


def check_editable(activations: Iterable[str]) -> None:
    """Raises `InputError` when one of the activations is none that graph editing can put at a site."""
    for name in activations:
        if not is_editable(name):
            raise InputError(
                f"Expected activations that a .tflite can take on: {', '.join(SUPPORTED)}. Received: {name!r}."
            )


def fused_code(activation: str) -> int | None:
    """Returns the `ActivationFunctionType` of an activation that operators can fuse, or None."""
    types = schema().ActivationFunctionType
    return {"identity": types.NONE, "relu": types.RELU, "relu6": types.RELU6}.get(activation)


def fused_name(code: int) -> str | None:
    """Returns the activation of an `ActivationFunctionType`; None for one that is not ours (TANH, SIGN_BIT, ...)."""
    return {fused_code(name): name for name in ("identity", "relu", "relu6")}.get(code)


@dataclasses.dataclass(frozen=True)
class Step:
    """One operator of an activation: builtin name, options, and which tensors it reads and writes.

    Tensors are named by role: `pre` (the activation's input), `post` (its output), `gate` (in between). `int8_version`
    is the operator's version in an int8 graph, None where there is no int8 kernel.
    """

    operator: str
    inputs: tuple[str, ...]
    output: str
    options_type: int = 0
    options: Any = None
    int8_version: int | None = 2


def steps(activation: str) -> tuple[Step, ...]:
    """Returns the operators that compute an activation, in order.

    Raises:
      InputError: TFLite graph editing has no spelling for this activation.
    """
    fb = schema()
    kinds = fb.BuiltinOptions
    if activation == "silu":
        mul = fb.MulOptionsT()
        mul.fusedActivationFunction = fb.ActivationFunctionType.NONE
        return (
            Step("LOGISTIC", ("pre",), "gate"),
            Step("MUL", ("pre", "gate"), "post", kinds.MulOptions, mul),
        )
    if activation in ("relu", "relu6"):
        return (Step(activation.upper(), ("pre",), "post"),)
    if activation == "hard_swish":
        return (Step("HARD_SWISH", ("pre",), "post", kinds.HardSwishOptions, fb.HardSwishOptionsT(), int8_version=1),)
    if activation == "gelu":
        gelu = fb.GeluOptionsT()
        gelu.approximate = False
        return (Step("GELU", ("pre",), "post", kinds.GeluOptions, gelu),)
    if activation == "elu":
        return (Step("ELU", ("pre",), "post", int8_version=None),)
    slope = leaky_slope(activation)
    if slope is not None:
        leaky = fb.LeakyReluOptionsT()
        leaky.alpha = slope
        return (Step("LEAKY_RELU", ("pre",), "post", kinds.LeakyReluOptions, leaky, int8_version=1),)
    raise InputError(
        f"Expected an activation that TFLite graph editing knows ({', '.join(SUPPORTED)}). Received: {activation!r}."
    )


def single_operator_activation(name: str, options: Any) -> str | None:
    """Returns the activation that one operator computes, or None when it is not an activation of ours."""
    simple = {"RELU": "relu", "RELU6": "relu6", "HARD_SWISH": "hard_swish", "ELU": "elu"}
    if name == "LEAKY_RELU":
        slope = float(f"{options.alpha:.6g}") if options is not None else 0.0
        return "leaky_relu" if leaky_slope("leaky_relu") == slope else f"leaky_relu({slope:g})"
    if name == "GELU":
        return None if options is not None and options.approximate else "gelu"
    return simple.get(name)
