"""Names of activations: Keras's own, one spelling each, aliases accepted."""

from __future__ import annotations

import re

from keras_actnas.core.errors import InputError, closest

LEAKY_RELU_SLOPE = 0.1
"""Slope of `leaky_relu` for negative inputs, as in Darknet and YOLO (Keras's own defaults are 0.2 and 0.3)."""

PRELU_START = 0.25
"""Slope that a new PReLU starts with, as in the paper (He et al. 2015); Keras's own default, 0, is a ReLU."""

CANDIDATES = ("relu", "silu", "hard_swish", "relu6", "leaky_relu")
"""The search space of ActNAS (section 3)."""

_ALIASES = {
    "swish": "silu",
    "hard_silu": "hard_swish",
    "hardswish": "hard_swish",
    "hswish": "hard_swish",
    "linear": "identity",
    "none": "identity",
    "leakyrelu": "leaky_relu",
}

KNOWN = (*CANDIDATES, "gelu", "identity", "elu", "selu", "mish", "softplus", "tanh", "sigmoid", "hard_sigmoid", "prelu")
"""Every activation name that an assignment may hold. What a target can run is narrower: see `keras_actnas.export`."""

_LEAKY = re.compile(r"leaky_relu\((?P<slope>[0-9.eE+-]+)\)")


def canonical_name(name: str) -> str:
    """Returns the one spelling of an activation's name.

    Args:
      name: A Keras activation name or an alias (`"swish"`), in any case. A leaky ReLU whose slope is not
        `LEAKY_RELU_SLOPE` is written `leaky_relu(0.3)`.

    Raises:
      InputError: The name is not known.

    >>> canonical_name("Swish"), canonical_name("leaky_relu(0.1)"), canonical_name("leaky_relu(0.3)")
    ('silu', 'leaky_relu', 'leaky_relu(0.3)')
    """
    if not isinstance(name, str):
        raise InputError(f"Expected the name of an activation. Received: {name!r}.")
    lowered = name.strip().lower()
    lowered = _ALIASES.get(lowered, lowered)
    if lowered in KNOWN:
        return lowered
    slope = leaky_slope(lowered)
    if slope is not None:
        return "leaky_relu" if slope == LEAKY_RELU_SLOPE else f"leaky_relu({slope:g})"
    raise InputError(f"Expected the name of an activation. Received: {name!r}.{closest(lowered, [*KNOWN, *_ALIASES])}")


def leaky_slope(name: str) -> float | None:
    """Returns the negative slope of a `leaky_relu` name, or None for any other activation."""
    if name == "leaky_relu":
        return LEAKY_RELU_SLOPE
    match = _LEAKY.fullmatch(name)
    if not match:
        return None
    try:
        return float(f"{float(match['slope']):g}")
    except ValueError:
        return None


def parse_activations(names: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Returns canonical names, in order and without repeats, from a list or a comma-separated string."""
    items = names.split(",") if isinstance(names, str) else list(names)
    result = tuple(dict.fromkeys(canonical_name(item) for item in items if str(item).strip()))
    if not result:
        raise InputError(f"Expected at least one activation, such as 'relu,silu'. Received: {names!r}.")
    return result
