"""Names of the configurations, as the results have them; needs no Keras, so that tables are printed at once."""

from __future__ import annotations

ENDS = (115, 90)
"""Epochs of the PEA paper's 120 at which the transition to ReLU ends: the final phase takes 5 or 30 epochs."""

KINDS = ("stochastic", "weighted")
"""The two ensembles of PEA."""

PROGRESSIVE = ("gelu", "silu", "mish")
"""Activations from which PEA comes to ReLU; trained to the end, they are the paper's upper limit."""

LABELS = {
    "relu": "ReLU",
    "gelu": "GELU",
    "silu": "Swish",
    "mish": "Mish",
    "elu": "ELU",
    "softplus": "SoftPlus",
    "acon_a": "ACON-A (Swish)",
    "acon_b": "ACON-B",
    "acon_c": "ACON-C",
    "acon_c_as_swish": "ACON-C, started as Swish",
    "meta_acon_channel": "meta-ACON",
    "meta_acon_layer": "meta-ACON by layer",
    "meta_acon_pixel": "meta-ACON by pixel",
}
"""How the papers write them."""


def pea_name(kind: str, activation: str, end: int) -> str:
    """Returns the name of a configuration of PEA.

    Args:
      kind: `"weighted"` or `"stochastic"`.
      activation: Where it begins.
      end: The epoch of the paper's 120 at which it is ReLU.
    """
    return f"pea_{kind}_{activation}_{end}"


def pea_names(kinds: tuple[str, ...] = KINDS, ends: tuple[int, ...] = ENDS) -> tuple[str, ...]:
    """Returns the names of several configurations of PEA, of all three activations."""
    return tuple(pea_name(kind, activation, end) for kind in kinds for activation in PROGRESSIVE for end in ends)


def short_name(name: str) -> str:
    """Returns a name as table 4 of the PEA paper has it: `SM90` is stochastic, from Mish, ending at 90; `M` is Mish."""
    if not name.startswith("pea_"):
        return LABELS[name][0]
    _, kind, activation, end = name.split("_")
    return f"{kind[0]}{LABELS[activation][0]}{end}".upper()
