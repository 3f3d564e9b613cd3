"""What a manager reads: how much faster, at what cost, how sure; and the networks in a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from keras_actnas.core.proposal import Proposal
from keras_actnas.core.table import Estimate
from keras_actnas.report.layout import bullets, note, section, typeset
from keras_actnas.report.markup import Markup, element, join, table
from keras_actnas.report.run import Run
from keras_actnas.report.text import change_text, constraint_lines, scale_of_changes, value_text, verdict

_SURE = 1.96
"""Standard errors to either side that hold the true value in 95 of 100 cases."""

_UNTRAINED = (
    "Weights were carried over, not trained: fine-tune the network before use, and judge its accuracy then. A score of "
    "untrained networks is a hint of accuracy, not accuracy."
)


def summary_section(run: Run) -> Markup:
    """Returns the tiles and sentences about the best proposal."""
    tiles = [
        *(_cost_tile(run, metric) for metric in run.device_metrics[:1]),
        *(_score_tile(run, metric) for metric in run.score_metrics[:1]),
        *(_sure_tile(run, metric) for metric in run.device_metrics[:1]),
        *(_uniform_tile(run, metric) for metric in run.device_metrics[:1] if run.baselines),
    ]
    known = [metric for metric in run.units if metric in run.tables and metric in run.reference.measured]
    lines = [
        *(verdict(run.reference, run.best, metric, run.units[metric]) for metric in known),
        *constraint_lines(run.reference, run.networks, run.constraints),
        *map(str, run.context.get("notes", ())),
    ]
    estimated = [metric for metric in run.device_metrics if run.is_estimated(metric)]
    if estimated:
        lines.append(f"{', '.join(estimated)}: estimates for {run.device}, not measured.")
    return section("Summary", element("div", *tiles, class_="tiles"), bullets([*lines, _UNTRAINED]))


def networks_section(run: Run) -> Markup:
    """Returns the table of the reference, the proposals and the networks with one activation."""
    header: list[str] = ["network"]
    for metric, unit in run.units.items():
        header.append(f"{metric}, {unit}" if unit else metric)
        header += ["predicted", run.found_how(metric)] if metric in run.tables else ["change"]
    header.append("activations")
    rows = [_network(run, row) for row in (run.reference, *run.networks)]
    how = (
        "Predicted and found are changes against the reference: in percent for a metric with a unit, as differences "
        "for a score. Behind ± is one standard error."
    )
    return section("Networks", table(header, rows, "All networks", "words"), note(how))


def _network(run: Run, row: Proposal) -> list[str]:
    cells = [row.name]
    for metric, unit in run.units.items():
        own, value = run.reference.measured.get(metric), row.measured.get(metric)
        cells.append(value_text(value, ""))
        predicted = [change_text(row.predicted.get(metric), own, unit)] if metric in run.tables else []
        found = change_text(value, own, unit)
        cells += [""] * (len(predicted) + 1) if row is run.reference else [*predicted, found]
    cells.append(", ".join(f"{count} {name}" for name, count in row.assignment.counts().items()))
    return [typeset(cell) for cell in cells]


def known_value(row: Proposal, metric: str) -> Estimate | None:
    """Returns what is known of a network: what was measured, or else what was predicted."""
    return row.measured.get(metric) or row.predicted.get(metric)


def _cost_tile(run: Run, metric: str) -> Markup:
    own, value = run.reference.measured.get(metric), known_value(run.best, metric)
    if own is None or value is None:
        return _tile(metric, "not known", "Neither measured nor predicted.")
    scale, sign = scale_of_changes(own, run.units[metric])
    change, error = (value.value - own.value) * scale, value.standard_error * scale
    unit = run.units[metric]
    values = f"{run.best.name}: {value_text(value, unit)} rather than {value_text(own, unit)}."
    title = "How much faster" if metric == "latency" else metric
    return _tile(title, _headline(change, error, metric, sign), values, _how(run, metric))


def _headline(change: float, error: float, metric: str, sign: str) -> str:
    if abs(change) < 2 * (error if math.isfinite(error) else 0.0):
        return "no clear change"
    words = ("less time", "more time") if metric == "latency" else (f"less {metric}", f"more {metric}")
    return f"{abs(change):.1f}{sign} {words[change > 0]}" if change else "no change"


def _how(run: Run, metric: str) -> str:
    """Returns a sentence on where the best proposal's value comes from."""
    if metric not in run.best.measured:
        return f"Predicted by the table; {run.device} has not measured this network."
    if run.is_estimated(metric):
        return f"An estimate for {run.device}, not a measurement."
    made = [one for one in run.journal if one.metric == metric and one.assignment == run.best.assignment]
    last = next((one for one in reversed(made) if one.purpose in ("confirm", "verify") and not one.failure), None)
    if last is None:
        return f"Measured on {run.device}."
    again = ", once more after it had come out best" if last.purpose == "confirm" else ""
    return f"Measured on {run.device}{again}: {len(last.samples)} runs in turns with the reference."


def _score_tile(run: Run, metric: str) -> Markup:
    own, value = run.reference.measured.get(metric), known_value(run.best, metric)
    if own is None or value is None:
        return _tile(metric, "not known", "Neither computed nor predicted.")
    change = value.value - own.value
    unclear = abs(change) < 2 * value.standard_error
    better = run.is_more_better(metric) == (change > 0)
    said = "Not distinguishable from" if unclear else "Better than" if better else "Worse than"
    seeds = run.context.get("seeds")
    over = f" The mean over {seeds} initializations." if seeds else ""
    return _tile(f"At what cost ({metric})", change_text(value, own, ""), f"{said} the reference.{over}")


def _sure_tile(run: Run, metric: str) -> Markup:
    """Returns the interval of the change, and how what the tables promised compares with what came."""
    title, own = "How sure", run.reference.measured.get(metric)
    predicted, found = run.best.predicted.get(metric), run.best.measured.get(metric)
    if own is None or predicted is None or found is None:
        return _tile(title, "predicted only", "The network was not built and measured.")
    unit, gap = run.units[metric], abs(predicted.value - found.value)
    error = math.hypot(predicted.standard_error, found.standard_error)
    promised = (
        f"Predicted {change_text(predicted, own, unit)}, {run.found_how(metric)} {change_text(found, own, unit)}."
    )
    if not found.standard_error > 0:
        noiseless = f"{run.device} gives the same value each time; how far a real one differs it does not tell."
        return _tile(title, "no noise" if run.exact else "error not known", noiseless if run.exact else None, promised)
    scale, sign = scale_of_changes(own, unit)
    change, reach = (found.value - own.value) * scale, _SURE * found.standard_error * scale
    meaning = "as close as their errors allow" if gap <= 2 * error else "more than their errors allow: trust what came"
    return _tile(
        title,
        f"{change - reach:+.1f} to {change + reach:+.1f}{sign}",
        f"The 95 % interval of the change of {metric}.",
        f"{promised} That is {gap / error:.1f} standard errors apart, {meaning}.",
    )


def _uniform_tile(run: Run, metric: str) -> Markup:
    known = [row for row in run.baselines if metric in row.measured]
    own = run.reference.measured.get(metric)
    if not known or own is None:
        return _tile("One activation everywhere", "not measured")
    first = min(known, key=lambda row: row.measured[metric].value)
    others = [
        f"{score} {change_text(first.measured[score], run.reference.measured.get(score), '')}"
        for score in run.score_metrics
        if score in first.measured
    ]
    shown = change_text(first.measured[metric], own, run.units[metric])
    cost = f"Its score: {', '.join(others)}." if others else None
    return _tile(
        "Fastest single activation" if metric == "latency" else f"Single activation with the least {metric}",
        first.name,
        f"{metric} {shown}.",
        cost,
    )


def _tile(title: str, value: str, *lines: str | None) -> Markup:
    shown: Sequence[str] = [typeset(line) for line in lines if line]
    return element(
        "div",
        element("h3", title),
        element("p", typeset(value), class_="value"),
        join(element("p", line) for line in shown),
        class_="tile",
    )
