"""The report of a run: one HTML file that needs nothing else, and no network."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

from keras_actnas.core.files import write_atomically
from keras_actnas.report.changes import changes_plot
from keras_actnas.report.evidence import additivity_section, stability_section
from keras_actnas.report.layout import captioned, note, section, side_by_side
from keras_actnas.report.markup import Markup, element, join
from keras_actnas.report.palette import legend, looks
from keras_actnas.report.pareto import pareto_plot
from keras_actnas.report.rounds import rounds_section
from keras_actnas.report.run import Run
from keras_actnas.report.strips import depth_strips
from keras_actnas.report.style import style_sheet
from keras_actnas.report.summary import networks_section, summary_section
from keras_actnas.report.table_map import scale_bar, table_map
from keras_actnas.report.usage import conditions_section, usage_section

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser lets the file load: nothing."""


def save_report(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Writes the report of a run folder.

    Args:
      folder: The run folder.
      path: The HTML file, which is written anew where it exists.

    Raises:
      InputError: The folder holds no finished run, a file in it is damaged, or the report cannot be written.
    """
    write_atomically(path, report_page(Run.load(folder)))


def report_page(run: Run) -> str:
    """Returns the report of a run as HTML."""
    title = f"{run.model} on {run.device}"
    links = (element("li", element("a", words, href=f"#{name}")) for name, (words, _) in _SECTIONS.items())
    nav = element("nav", element("ul", *links), aria_label="Sections")
    header = element("header", element("h1", title), element("p", _subtitle(run)), nav)
    sections = (element("section", made(run), id=name) for name, (_, made) in _SECTIONS.items())
    footer = element(
        "footer", "Made by keras-actnas report from the files of the run folder; all numbers are from there."
    )
    body = element("body", header, element("main", *sections), footer)
    return "<!DOCTYPE html>\n" + element("html", _head(title), body, lang="en") + "\n"


def _head(title: str) -> Markup:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", **{"http-equiv": "Content-Security-Policy"}, content=_POLICY),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title}: activations of every layer"),
        element("style", Markup(style_sheet())),
    )


def _subtitle(run: Run) -> str:
    shape = run.identity.get("input_shape")
    size = f"input {' x '.join(map(str, shape))}, " if isinstance(shape, list) else ""
    precision = f"{run.identity['precision']}, " if "precision" in run.identity else ""
    when = f", {run.journal[-1].time[:10]}" if run.journal else ""
    return f"{size}{precision}{len(run.reference.assignment)} activation sites, {len(run.proposals)} proposals{when}"


def _trade_off_section(run: Run) -> Markup:
    plots = []
    # Metrics that nothing was asked of are in the other sections; the first is what the search was about otherwise.
    wanted = [metric for metric in run.device_metrics if metric in run.asked] or run.device_metrics[:1]
    for metric, score in itertools.product(wanted, run.score_metrics):
        title = f"{score} against {metric}"
        for plot, words in (
            (pareto_plot(run, metric, score), title),
            (pareto_plot(run, metric, score, close_up=True), f"{title}: the proposals alone"),
        ):
            if plot:
                plots.append(captioned(plot, words))
    told = note(_MARKS if plots else "Too few networks have values of two metrics.")
    return section("What is worth having", side_by_side(*plots), told)


_MARKS = (
    "◆ reference, ● proposals, □ one activation everywhere; bars are one standard error. The dashed line joins the "
    "networks that no other beats in both."
)


def _changes_section(run: Run) -> Markup:
    plots = [
        captioned(plot, f"{metric}, predicted and {run.found_how(metric)}")
        for metric in (*run.device_metrics, *run.score_metrics)
        if (plot := changes_plot(run, metric))
    ]
    told = (
        "△ is what the tables predicted; ● is what came of a proposal, □ of a network with one activation everywhere. "
        "Bars are 95 % intervals."
    )
    return section("Predicted and found", side_by_side(*plots), note(told))


def _depth_section(run: Run) -> Markup:
    rows = [run.reference, *run.proposals]
    known = looks(name for row in rows for name in row.assignment.counts())
    strips = (element("figure", strip) for strip in depth_strips(rows, known))
    return section(
        "Activations along the depth", legend(known), side_by_side(*strips), note("From the input to the output.")
    )


def _tables_section(run: Run) -> Markup:
    tables = [run.tables[metric] for metric in (*run.device_metrics, *run.score_metrics)]
    figures = [
        captioned(
            join([scale_bar(table), table_map(table)]), f"{table.metric}{f', {table.unit}' if table.unit else ''}"
        )
        for table in tables
    ]
    return section("What each activation changes at each site", side_by_side(*figures), note(_CELLS))


_CELLS = (
    "Change against the reference: orange is more, blue is less. ● marks the reference's own activation; hatched cells "
    "cannot be told from none. The numbers are in tables/*.csv."
)


_SECTIONS: dict[str, tuple[str, Callable[[Run], Markup]]] = {
    "summary": ("Summary", summary_section),
    "networks": ("Networks", networks_section),
    "trade-off": ("Trade-off", _trade_off_section),
    "predicted": ("Predicted and found", _changes_section),
    "rounds": ("Rounds", rounds_section),
    "depth": ("Along the depth", _depth_section),
    "tables": ("Tables", _tables_section),
    "additivity": ("Additivity", additivity_section),
    "stability": ("Stability", stability_section),
    "apply": ("Apply", usage_section),
    "conditions": ("Conditions", conditions_section),
}
"""Name of a section, by which links lead to it -> the link's words, and what makes the section."""
