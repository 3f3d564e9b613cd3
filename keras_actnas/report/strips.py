"""Each proposal's activations along the depth of the network."""

from __future__ import annotations

from collections.abc import Sequence

from keras_actnas.core.proposal import Proposal
from keras_actnas.report.markup import Markup, element, figure, text
from keras_actnas.report.palette import Look
from keras_actnas.report.scales import WIDTH

_SIDE, _LEFT, _TOP = 19, 72, 18
_PER_STRIP = (WIDTH - _LEFT - 2) // _SIDE
"""Sites in one strip: as many as fit with readable letters."""


def depth_strips(rows: Sequence[Proposal], known: dict[str, Look]) -> list[Markup]:
    """Returns strips of some sites each, from the input to the output, with a line for each network.

    Args:
      rows: The networks.
      known: How each activation looks.
    """
    sites = list(rows[0].assignment)
    return [_strip(rows, sites, first, known) for first in range(0, len(sites), _PER_STRIP)]


def _strip(rows: Sequence[Proposal], sites: Sequence[str], first: int, known: dict[str, Look]) -> Markup:
    chosen = sites[first : first + _PER_STRIP]
    parts = [
        text(_LEFT, 12, f"sites {first + 1} to {first + len(chosen)} of {len(sites)}: {chosen[0]} …", class_="tick")
    ]
    for line, row in enumerate(rows):
        y = _TOP + line * (_SIDE + 3)
        parts.append(text(_LEFT - 6, y + 13, row.name, "end", "label"))
        for column, site in enumerate(chosen):
            name = row.assignment[site]
            parts.append(_square(_LEFT + column * _SIDE, y, f"{row.name}, {site}: {name}", known[name]))
    height = _TOP + len(rows) * (_SIDE + 3)
    label = f"Activations of each network at sites {first + 1} to {first + len(chosen)}"
    return figure(WIDTH, height, label, *parts)


def _square(x: float, y: float, said: str, look: Look) -> Markup:
    square = element("rect", x=x, y=y, width=_SIDE - 1, height=_SIDE - 1, rx=3, fill=look.colour)
    letter = element(
        "text",
        look.letter,
        x=x + (_SIDE - 1) / 2,
        y=y + 13,
        text_anchor="middle",
        class_="letter",
        style=f"fill:{look.ink}",
    )
    return element("g", element("title", said), square, letter)
