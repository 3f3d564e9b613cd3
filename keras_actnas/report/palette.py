"""How activations look in figures: a colour that people who see red and green alike can tell, and a letter."""

from __future__ import annotations

import dataclasses
import itertools
import string
from collections.abc import Iterable

from keras_actnas.report.markup import Markup, element

_KNOWN = {
    "silu": ("S", "#0072b2"),
    "relu": ("R", "#e69f00"),
    "hard_swish": ("H", "#56b4e9"),
    "relu6": ("6", "#f0e442"),
    "leaky_relu": ("L", "#cc79a7"),
    "gelu": ("G", "#009e73"),
    "identity": ("I", "#bbbbbb"),
    "elu": ("E", "#d55e00"),
    "mish": ("M", "#882255"),
}
"""Letter and colour (Okabe and Ito's) of the usual activations."""

_MORE_COLOURS = ("#d55e00", "#882255", "#999933", "#44aa99", "#bbbbbb", "#aa4499")
_WHITE_ON = ("#0072b2", "#882255", "#aa4499")


@dataclasses.dataclass(frozen=True)
class Look:
    """How one activation looks: its letter, its colour, and the colour of the letter on it."""

    letter: str
    colour: str
    ink: str


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Returns how each activation looks; no two have the same letter."""
    wanted = list(dict.fromkeys(names))
    taken = {_KNOWN[name][0] for name in wanted if name in _KNOWN}
    colours = itertools.cycle(_MORE_COLOURS)
    found = {}
    for name in wanted:
        if name in _KNOWN:
            letter, colour = _KNOWN[name]
        else:
            letter = next(one for one in (*name.upper(), *string.printable) if one.isalnum() and one not in taken)
            colour = next(colours)
            taken.add(letter)
        found[name] = Look(letter, colour, "#ffffff" if colour in _WHITE_ON else "#111111")
    return found


def legend(known: dict[str, Look]) -> Markup:
    """Returns a list of the activations, each with its letter on its colour."""
    items = (element("li", swatch(look), " ", name) for name, look in known.items())
    return element("ul", *items, class_="legend")


def swatch(look: Look) -> Markup:
    """Returns an activation's letter on its colour."""
    return element("span", look.letter, class_="swatch", style=f"background:{look.colour};color:{look.ink}")
