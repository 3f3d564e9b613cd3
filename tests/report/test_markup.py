"""Elements, scales, palettes and labels: the small pieces of a report's figures."""

import math

import pytest

from keras_actnas.core import KNOWN
from keras_actnas.report.labels import place_labels
from keras_actnas.report.layout import typeset
from keras_actnas.report.markup import Markup, element, join, table
from keras_actnas.report.palette import looks
from keras_actnas.report.scales import Scale, around, tick_text, x_axis
from keras_actnas.report.style import DARK, LIGHT, style_sheet


def test_text_is_escaped_and_markup_is_not():
    inner = element("b", "<script>&")
    assert inner == "<b>&lt;script&gt;&amp;</b>"
    assert element("p", inner, "<", None, title='"a" < b') == (
        '<p title="&quot;a&quot; &lt; b"><b>&lt;script&gt;&amp;</b>&lt;</p>'
    )
    assert join(["<", Markup("<br>")]) == "&lt;<br>"


def test_attributes():
    assert element("a", class_="x", aria_label="y", href=None) == '<a class="x" aria-label="y"></a>'
    assert element("rect", x=1.23456, y=2.0, width=3) == '<rect x="1.23" y="2" width="3"></rect>'
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'


def test_a_table_has_headers():
    made = table(["network", "ms"], [["a<b", "1"]], "Times")
    assert '<th scope="col">ms</th>' in made
    assert '<tr><th scope="row">a&lt;b</th><td>1</td></tr>' in made
    assert "<caption>Times</caption>" in made


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 7.0, [0.0, 2.0, 4.0, 6.0]),
        (-0.13, 0.21, [-0.1, 0.0, 0.1, 0.2]),
        (19.63, 19.83, [19.65, 19.7, 19.75, 19.8]),
    ],
)
def test_ticks_are_round(low, high, ticks):
    assert Scale(low, high, 0.0, 1.0).ticks() == pytest.approx(ticks)


def test_scales():
    scale = Scale(10.0, 20.0, 100.0, 0.0)
    assert [scale(value) for value in (10.0, 15.0, 20.0)] == [100.0, 50.0, 0.0]
    assert tick_text(-0.1, [-0.1, 0.0]) == "−0.1" and tick_text(200.0, [100.0, 200.0]) == "200"
    assert "latency, ms" in "".join(x_axis(scale, 0.0, 50.0, "latency, ms"))


@pytest.mark.parametrize("values", [[], [math.nan], [5.0], [5.0, 5.0], [0.0], [1e-9, 2e-9], [-1e9, 1e9]])
def test_a_scale_around_anything(values):
    scale = around(values, 0.0, 100.0)
    assert scale.low < scale.high
    assert 1 <= len(scale.ticks()) <= 6


def test_activations_can_be_told_without_colour():
    known = looks([*KNOWN, "leaky_relu(0.3)"])
    assert len({look.letter for look in known.values()}) == len(known)
    assert known["relu6"].letter == "6"
    usual = looks(["silu", "relu", "hard_swish", "relu6", "leaky_relu", "gelu"])
    assert len({look.colour for look in usual.values()}) == 6


def test_labels_lie_beside_their_points_and_not_on_each_other():
    points = [(100.0 + number, 100.0, f"label {number}") for number in range(6)]
    avoided = [(x - 6, 94.0, x + 6, 106.0) for x, _, _ in points]
    parts = "".join(place_labels(points, (0.0, 0.0, 360.0, 300.0), avoided))
    places = [part.split('"') for part in parts.split("<text")[1:]]
    tops = sorted((float(part[1]), float(part[3])) for part in places)
    assert len(set(tops)) == 6
    for number, (x, y) in enumerate(tops):
        assert all(abs(x - other[0]) > 38 or abs(y - other[1]) > 10 for other in tops[number + 1 :])
    assert "leader" in parts


def test_typeset():
    assert typeset("ilp-1: nwot -0.50 +- 0.25 >= -3 - kept") == "ilp-1: nwot −0.50 ± 0.25 ≥ −3 – kept"


def luminance(colour):
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_stands_out(colours):
    """WCAG 2: 4.5 for text, 3 for what figures are drawn with."""
    for ground in ("page", "card", "code"):
        assert contrast(colours["ink"], colours[ground]) > 7
        assert contrast(colours["soft"], colours[ground]) > 4.5
    for ground in ("more", "less"):  # Numbers stand on the strongest cells, too.
        assert contrast(colours["ink"], colours[ground]) > 4.5
    for mark in ("proposal", "reference", "uniform"):
        assert contrast(colours[mark], colours["card"]) > 3


def test_letters_stand_out_on_their_colours():
    for look in looks([*KNOWN]).values():
        assert contrast(look.ink, look.colour) > 4.5, look


def test_the_style_sheet_loads_nothing():
    assert "url(" not in style_sheet() and "@import" not in style_sheet()
    assert "prefers-color-scheme:dark" in style_sheet()
