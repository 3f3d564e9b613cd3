"""Heat maps of metric tables as SVG: sites down, activations across."""

from __future__ import annotations

import math

import numpy as np

from keras_actnas.core.table import MetricTable
from keras_actnas.report.markup import Markup, element, figure, join, text
from keras_actnas.report.scales import WIDTH

_ROW, _LEFT, _TOP, _RIGHT = 14, 112, 62, WIDTH - 34
_WIDE_ENOUGH = 31
"""Width of a cell from which on its number fits."""

_LETTERS = 21
"""How much of a site's name fits; its end tells sites apart."""


def table_map(table: MetricTable) -> Markup:
    """Returns a table's changes against the reference as a figure.

    Orange is more and blue is less than the reference, the stronger the larger; the number says it again where it fits.
    A dot marks the reference's own activation, hatching a change below twice its standard error, and an empty cell what
    was not measured.
    """
    names, sites = table.activations, table.sites
    cell = (_RIGHT - _LEFT) / len(names)
    largest = float(np.max(np.abs(np.nan_to_num(table.delta)), initial=0.0)) or 1.0
    digits = max(0, 1 - math.floor(math.log10(largest)))
    parts = [_hatching(f"unclear-{table.metric}")]
    for column, name in enumerate(names):
        parts.append(text(_LEFT + cell * (column + 0.5), _TOP - 6, name, "start", "tick", rotate=-40.0))
    for row, site in enumerate(sites):
        y = _TOP + _ROW * row
        shown = site if len(site) <= _LETTERS else f"…{site[1 - _LETTERS :]}"
        cells = [
            _cell(table, row, column, (_LEFT + cell * column, y, cell), largest, digits) for column in range(len(names))
        ]
        parts.append(element("g", text(_LEFT - 4, y + _ROW - 4, shown, "end", "site"), *cells))
    label = f"{table.metric} table: change against the reference, {len(sites)} sites by {len(names)} activations"
    return figure(WIDTH, _TOP + _ROW * len(sites) + 4, label, *parts)


def scale_bar(table: MetricTable) -> Markup:
    """Returns what the colours of a table's heat map mean."""
    largest = float(np.max(np.abs(np.nan_to_num(table.delta)), initial=0.0))
    end = f"{largest:.0f}" if largest >= 100 else f"{largest:.2g}"
    unit = f" {table.unit}" if table.unit else ""
    ends = [element("span", f"{sign}{end}{unit}") for sign in "−+"]
    return element("p", ends[0], element("span", "", class_="ramp"), ends[1], class_="ramps")


def _hatching(name: str) -> Markup:
    stroke = element("path", d="M0 5 L5 0", class_="hatch")
    return element("defs", element("pattern", stroke, id=name, width=5, height=5, patternUnits="userSpaceOnUse"))


def _cell(
    table: MetricTable, row: int, column: int, place: tuple[float, float, float], largest: float, digits: int
) -> Markup:
    x, y, width = place
    site, name = table.sites[row], table.activations[column]
    delta, error = float(table.delta[row, column]), float(table.standard_error[row, column])
    own = table.reference[site] == name
    shape = {"x": x + 0.5, "y": y + 0.5, "width": width - 1, "height": _ROW - 1.0}
    if math.isnan(delta):
        said = element("title", f"{site}, {name}: not measured")
        return element("g", said, element("rect", class_="none", **shape))
    unclear = not own and abs(delta) < 2 * error
    said = element("title", f"{site}, {name}: {_said(table, delta, error, own, unclear)}")
    side = "more" if delta > 0 else "less"
    parts = [said, element("rect", class_="cell", **shape)]
    parts.append(element("rect", class_=side, fill_opacity=round(abs(delta) / largest, 3), **shape))
    if unclear:
        parts.append(element("rect", fill=f"url(#unclear-{table.metric})", **shape))
    middle = x + width / 2
    if own:
        parts.append(element("circle", cx=middle, cy=y + _ROW / 2, r=2, class_="own"))
    elif width >= _WIDE_ENOUGH:
        parts.append(text(middle, y + _ROW - 4, _number(delta, digits), "middle", "number"))
    return element("g", join(parts))


def _number(delta: float, digits: int) -> str:
    shown = f"{delta:+.{digits}f}".replace("-", "−")
    return shown if any(digit in shown for digit in "123456789") else "0"


def _said(table: MetricTable, delta: float, error: float, own: bool, unclear: bool) -> str:
    if own:
        return "the reference's own activation"
    shown = (
        f"{delta:+.3g}" + ("" if math.isnan(error) else f" ± {error:.2g}") + (f" {table.unit}" if table.unit else "")
    )
    return f"{shown}, not distinguishable from none" if unclear else shown
