"""The report in a real browser: what it asks for, complains about, and how it fits a phone, in light and dark mode."""

import numpy as np
import pytest
from PIL import Image

from keras_actnas.report import save_report

from .browser import Browser, chromium

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="no Chromium is installed (Debian: apt-get install chromium)"
)

MODES = [(375, False), (375, True), (1280, False), (1280, True)]

# Elements that reach beyond the window without being in a box that scrolls by itself.
SPILLING = """[...document.querySelectorAll("main *, header *")].filter(one =>
  one.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5 && !one.closest(".scroll, pre")
).map(one => one.outerHTML.slice(0, 80))"""

# Pairs of labels of one figure that lie on each other.
HIDDEN_LABELS = """[...document.querySelectorAll("svg")].flatMap(svg => {
  const boxes = [...svg.querySelectorAll("text.label, text.tick:not([transform]), text.axis")].map(one =>
    [one.textContent, one.getBoundingClientRect()]);
  return boxes.flatMap(([a, p], i) => boxes.slice(i + 1).filter(([b, q]) =>
    p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 3 && q.top < p.bottom - 3
  ).map(([b]) => a + " on " + b));
})"""


@pytest.fixture(scope="module")
def report(run_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    save_report(run_folder, path)
    return path


@pytest.fixture(scope="module")
def browser():
    opened = Browser()
    yield opened
    opened.close()


@pytest.mark.parametrize(("width", "dark"), MODES)
def test_the_report_in_a_window(browser, report, tmp_path, width, dark):
    browser.open(report, width, dark)
    assert browser.complaints() == []
    assert browser.requests() == [report.resolve().as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(SPILLING) == []
    assert browser.evaluate(HIDDEN_LABELS) == []
    browser.screenshot(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as image:
        pixels = np.asarray(image.convert("L"), np.float64)
    assert pixels.shape[1] <= width
    assert (pixels.mean() < 80) if dark else (pixels.mean() > 180)


def test_what_a_screen_reader_gets(browser, report):
    browser.open(report, 1280)
    assert browser.evaluate('[...document.querySelectorAll("svg")].every(one => one.getAttribute("aria-label"))')
    ids = browser.evaluate('[...document.querySelectorAll("[id]")].map(one => one.id)')
    assert len(set(ids)) == len(ids)
    targets = browser.evaluate('[...document.querySelectorAll("nav a")].map(one => one.hash.slice(1))')
    assert len(targets) == 11 and set(targets) <= set(ids)
    assert browser.evaluate('document.querySelectorAll("script").length') == 0
    tables = 'document.querySelectorAll("table")'
    headers = f'[...{tables}].every(one => one.querySelector("caption") && one.querySelector("th[scope=col]"))'
    assert browser.evaluate(headers)
    assert browser.evaluate(
        '[...document.querySelectorAll("tbody tr")].every(one => one.querySelector("th[scope=row]"))'
    )


def test_the_browser_would_notice(browser, tmp_path):
    """A page with everything that the report must not have."""
    page = tmp_path / "bad.html"
    page.write_text(
        '<main style="width:900px">wide</main><img src="http://127.0.0.1:9/x.png"><script>console.error("oh")</script>'
        '<svg><text class="label" y="20">one</text><text class="label" y="22">two</text></svg>',
        encoding="utf-8",
    )
    browser.open(page, 375)
    assert browser.complaints()
    assert len(browser.requests()) == 2
    assert browser.evaluate("document.documentElement.scrollWidth") > 375
    assert browser.evaluate(HIDDEN_LABELS) == ["one on two"]
