"""Networks by two metrics: which are worth having (ActNAS figure 5)."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

from keras_actnas.core.table import Estimate
from keras_actnas.report.labels import Box, place_labels
from keras_actnas.report.markup import Markup, element, figure, line
from keras_actnas.report.run import Run
from keras_actnas.report.scales import WIDTH, Scale, around, x_axis, y_axis
from keras_actnas.report.text import value_text

_HEIGHT = 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, WIDTH - 14, 30, _HEIGHT - 40


@dataclasses.dataclass(frozen=True)
class Point:
    """A network in the plane of two metrics; `kind` is "reference", "proposal" or "uniform"."""

    name: str
    kind: str
    x: Estimate
    y: Estimate


def pareto_plot(run: Run, x_metric: str, y_metric: str, close_up: bool = False) -> Markup | None:
    """Returns the networks in the plane of two metrics, with error bars; None when too few have values of both.

    Less of a cost is better, and more of most scores. A line joins the networks that no other beats in both.

    Args:
      run: The run.
      x_metric: The metric across.
      y_metric: The metric up.
      close_up: Whether to show the proposals alone, which often lie close together; they share a label otherwise.
    """
    points = _points(run, x_metric, y_metric)
    front = _front(points, run.is_more_better(x_metric), run.is_more_better(y_metric))
    if close_up:
        points, front = ([one for one in some if one.kind == "proposal"] for some in (points, front))
    if len(points) < 2:
        return None
    x_scale = around(_reach([point.x for point in points]), _LEFT, _RIGHT)
    y_scale = around(_reach([point.y for point in points]), _BOTTOM, _TOP)
    units = [f"{metric}, {run.units[metric]}" if run.units[metric] else metric for metric in (x_metric, y_metric)]
    parts = [*x_axis(x_scale, _TOP, _BOTTOM, units[0]), *y_axis(y_scale, _LEFT, _RIGHT, units[1])]
    parts.append(_front_line([(x_scale(point.x.value), y_scale(point.y.value)) for point in front]))
    parts += [_mark(point, x_scale, y_scale, _said(point, run, x_metric, y_metric)) for point in points]
    labels = [] if close_up else [_shared_label(points)]
    labels += [(point, point.name) for point in points if close_up or point.kind != "proposal"]
    places = [(x_scale(point.x.value), y_scale(point.y.value), label) for point, label in labels if label]
    parts += place_labels(places, (_LEFT, _TOP, WIDTH, _BOTTOM), _taken(points, x_scale, y_scale))
    what = f"{y_metric} against {x_metric}{' of the proposals' if close_up else ''}"
    names = ", ".join(point.name for point in front) or "none"
    return figure(WIDTH, _HEIGHT, f"{what}. Not beaten by any other: {names}.", *parts)


def _shared_label(points: Sequence[Point]) -> tuple[Point, str]:
    """Returns one label for all proposals, and the point that it stands at."""
    names = [point for point in points if point.kind == "proposal"]
    if not names:
        return points[0], ""
    return names[0], names[0].name if len(names) == 1 else f"{names[0].name} … {names[-1].name}"


def _taken(points: Sequence[Point], x_scale: Scale, y_scale: Scale) -> list[Box]:
    """Returns the boxes of all markers and error bars."""
    boxes = []
    for point in points:
        x, y = x_scale(point.x.value), y_scale(point.y.value)
        wide = x_scale(point.x.value + error_of(point.x)) - x
        high = y - y_scale(point.y.value + error_of(point.y))
        boxes += [(x - 6, y - 6, x + 6, y + 6), (x - wide, y - 1, x + wide, y + 1), (x - 1, y - high, x + 1, y + high)]
    return boxes


def _points(run: Run, x_metric: str, y_metric: str) -> list[Point]:
    kinds = [("reference", [run.reference]), ("proposal", run.proposals), ("uniform", run.baselines)]
    return [
        Point(row.name, kind, row.measured[x_metric], row.measured[y_metric])
        for kind, rows in kinds
        for row in rows
        if x_metric in row.measured and y_metric in row.measured
    ]


def _front(points: Sequence[Point], more_x: bool, more_y: bool) -> list[Point]:
    """Returns the points that no other beats in one metric without losing in the other, in the order of x."""
    goodness = {
        point: (point.x.value if more_x else -point.x.value, point.y.value if more_y else -point.y.value)
        for point in points
    }
    front = [
        point
        for point, (x, y) in goodness.items()
        if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in goodness.values())
    ]
    return sorted(front, key=lambda point: point.x.value)


def _front_line(places: Sequence[tuple[float, float]]) -> Markup:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return element("polyline", points=path, class_="front")


def _reach(values: Sequence[Estimate]) -> list[float]:
    return [value.value + sign * error_of(value) for value, sign in itertools.product(values, (-1, 1))]


def error_of(value: Estimate) -> float:
    """Returns a value's standard error; 0 where it is not known, and no bar is drawn."""
    return 0.0 if math.isnan(value.standard_error) else value.standard_error


def _mark(point: Point, x_scale: Scale, y_scale: Scale, said: str) -> Markup:
    x, y = x_scale(point.x.value), y_scale(point.y.value)
    bars = []
    if error := error_of(point.x):
        bars.append(line(x_scale(point.x.value - error), y, x_scale(point.x.value + error), y, "bar"))
    if error := error_of(point.y):
        bars.append(line(x, y_scale(point.y.value - error), x, y_scale(point.y.value + error), "bar"))
    return element("g", element("title", said), *bars, marker(point.kind, x, y), class_=point.kind)


def marker(kind: str, x: float, y: float, size: float = 5.0) -> Markup:
    """Returns a marker whose shape, besides its colour, says what it is.

    A diamond is the reference, a filled circle a proposal, a hollow square a network with one activation.
    """
    if kind == "reference":
        corners = ((x, y - 1.4 * size), (x + 1.4 * size, y), (x, y + 1.4 * size), (x - 1.4 * size, y))
        return element("polygon", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in corners), class_="mark")
    if kind == "uniform":
        return element(
            "rect", x=x - size + 0.5, y=y - size + 0.5, width=2 * size - 1, height=2 * size - 1, class_="mark"
        )
    return element("circle", cx=x, cy=y, r=size, class_="mark")


def _said(point: Point, run: Run, *metrics: str) -> str:
    values = (point.x, point.y)
    shown = (
        f"{metric} {value_text(value, run.units[metric])} (standard error {error_of(value):.3g})"
        for metric, value in zip(metrics, values, strict=True)
    )
    return f"{point.name}: {', '.join(shown)}"
