"""HTML and SVG from Python: elements nest, and whatever is not markup is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable

_VOID = ("br", "link", "meta")


class Markup(str):
    """Text that is HTML or SVG already, and is not escaped again."""

    __slots__ = ()


def element(tag: str, *content: Markup | str | float | None, **attributes: str | float | None) -> Markup:
    """Returns an element.

    Args:
      tag: Its name.
      *content: What is in it: markup, or text and numbers, which are escaped; None for nothing.
      **attributes: Its attributes; None leaves one out. `class_` is `class`, `aria_label` is `aria-label`.

    >>> element("p", "1 < 2", element("br"), class_="note")
    '<p class="note">1 &lt; 2<br></p>'
    """
    shown = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(_text(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{shown}>")
    return Markup(f"<{tag}{shown}>{join(content)}</{tag}>")


def join(parts: Iterable[Markup | str | float | None]) -> Markup:
    """Returns parts one behind the other; those that are not markup are escaped."""
    return Markup(
        "".join(
            part if isinstance(part, Markup) else html.escape(_text(part), quote=False)
            for part in parts
            if part is not None
        )
    )


def figure(width: float, height: float, label: str, *content: Markup | None) -> Markup:
    """Returns an SVG that scales with its place, and that screen readers call by its label."""
    shape = {"viewBox": f"0 0 {_text(width)} {_text(height)}"}
    return element("svg", *content, role="img", aria_label=label, **shape)


def text(
    x: float, y: float, content: str, anchor: str = "start", class_: str | None = None, rotate: float | None = None
) -> Markup:
    """Returns a line of text in an SVG; `anchor` is "start", "middle" or "end"."""
    turn = None if rotate is None else f"rotate({_text(rotate)} {_text(x)} {_text(y)})"
    return element("text", content, x=x, y=y, text_anchor=anchor, class_=class_, transform=turn)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Returns a line in an SVG."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def table(
    header: Iterable[Markup | str], rows: Iterable[Iterable[Markup | str]], caption: str, class_: str | None = None
) -> Markup:
    """Returns an HTML table in a box that scrolls by itself where it is too wide; a row's first cell is its header."""
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    lines = []
    for first, *others in rows:
        cells = (element("td", cell) for cell in others)
        lines.append(element("tr", element("th", first, scope="row"), *cells))
    body = (element("caption", caption), element("thead", head), element("tbody", *lines))
    return element(
        "div", element("table", *body, class_=class_), class_="scroll", tabindex="0", role="region", aria_label=caption
    )


def _text(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
