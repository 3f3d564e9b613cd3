"""Pieces that every section of a report is made of."""

from __future__ import annotations

import re

from keras_actnas.report.markup import Markup, element, join

_SIGN = re.compile(r"(?<![\w−-])-(?=\d)")


def section(title: str, *content: Markup | None) -> Markup:
    """Returns what a section holds: its heading and content."""
    return join([element("h2", title), *content])


def note(text: str) -> Markup:
    """Returns a paragraph that explains how to read what is above or below."""
    return element("p", text, class_="note")


def bullets(lines: list[str]) -> Markup | None:
    """Returns a list of sentences; nothing for none."""
    return element("ul", *(element("li", typeset(line)) for line in lines)) if lines else None


def side_by_side(*figures: Markup) -> Markup:
    """Returns figures side by side where there is room, and one below the other where there is not."""
    return element("div", *figures, class_="figures")


def captioned(drawing: Markup, title: str) -> Markup:
    """Returns a figure with its title above."""
    return element("figure", element("figcaption", title), drawing)


def typeset(text: str) -> str:
    """Returns text of a terminal as print has it: with signs of its own for plus-minus, minus, at least and at most.

    >>> typeset("-5.94 +- 0.30 %, ilp-1")
    '−5.94 ± 0.30 %, ilp-1'
    """
    return _SIGN.sub("−", text.replace("+-", "±").replace(">=", "≥").replace("<=", "≤").replace(" - ", " – "))
