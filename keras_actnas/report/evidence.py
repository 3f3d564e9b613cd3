"""What the result rests on: do the tables add up, and how steady was the device."""

from __future__ import annotations

import math
from collections.abc import Mapping

from keras_actnas.core.detectable import typical_detectable
from keras_actnas.report.additivity import LEAST, Check, agreement, agreement_plot, mixed_checks
from keras_actnas.report.layout import bullets, captioned, note, section, side_by_side, typeset
from keras_actnas.report.markup import Markup, table
from keras_actnas.report.run import Run
from keras_actnas.report.stability import Stability, drift_plot, stability
from keras_actnas.report.text import scale_of_changes

_NONE = "–"


def additivity_section(run: Run) -> Markup:
    """Returns how well the tables predict networks that mix activations."""
    rows, plots = [], []
    for metric in [*run.device_metrics, *run.score_metrics]:
        checks = mixed_checks(run, metric)
        groups = [
            ("not seen by the fit", [check for check in checks if not check.fitted]),
            ("the table was fitted to them", [check for check in checks if check.fitted]),
        ]
        rows += [_agreement_row(run, metric, name, group) for name, group in groups if len(group) >= LEAST]
        if len(checks) >= LEAST:
            plots.append(captioned(agreement_plot(checks, run.tables[metric]), metric))
    how = (
        "Circles are networks that the table was fitted to, triangles those that it had not seen. A table predicts a "
        "network by adding up its sites. Error is the root-mean-square difference of prediction and measurement; noise "
        "is the part of it that the measurements bring themselves; bias is the mean difference, below zero where "
        "predictions are too low. They are in percent of the reference, or in points of a score. Within 95 % says how "
        "many networks lie in the interval that both errors together give. Rank correlation (Spearman's) is 1 when the "
        "order is right."
    )
    fits = bullets([line for metric in run.tables for line in _fit_lines(run, metric)])
    if not rows:
        return section("Do the tables add up?", note("The journal has too few mixed networks to tell."), fits)
    header = ("metric", "networks", "how many", "error", "noise", "bias", "within 95 %", "rank correlation")
    return section(
        "Do the tables add up?",
        table(header, rows, "Mixed networks in the journal", "kinds"),
        side_by_side(*plots),
        note(how),
        fits,
    )


def _fit_lines(run: Run, metric: str) -> list[str]:
    """Returns how well a table was fitted: what it misses of networks left out, and what it can tell from nothing."""
    fitted = run.tables[metric]
    scale, sign = scale_of_changes(fitted.reference_value, fitted.unit)
    lines = []
    left_out, smallest = fitted.context.get("leave_out_error"), typical_detectable(fitted)
    if left_out is not None:
        lines.append(
            f"{metric}: fitted to all networks but one, the table predicts that one to {scale * left_out:.2f}{sign} "
            "(root-mean-square, with the noise of its measurement)."
        )
    if smallest > 0:
        lines.append(
            f"{metric}: a single effect has to be about {scale * smallest:.2f}{sign} for the data to tell it from none "
            "(5 %, power 80 %, median over the cells)."
        )
    if wild := fitted.context.get("wild"):
        lines.append(f"{metric}: {wild} measurements were far off what all others say, and count less.")
    return lines


def _agreement_row(run: Run, metric: str, name: str, checks: list[Check]) -> list[str]:
    found = agreement(checks)
    _, sign = scale_of_changes(run.tables[metric].reference_value, run.units[metric])
    return [
        metric,
        name,
        str(found.networks),
        _number(found.error, sign),
        _number(found.noise, sign),
        _number(found.bias, sign, "+"),
        _number(100 * found.covered, " %"),
        _number(found.correlation),
    ]


def stability_section(run: Run) -> Markup:
    """Returns the noise of the device, its drift, and what disturbed it or could not be run."""
    found = {metric: stability(run, metric) for metric in run.device_metrics}
    if run.exact:
        text = f"{run.device} gives the same values each time: there is no noise and no drift."
        return section("Noise and stability", note(text), bullets(_troubles(found)))
    rows = [_stability_row(metric, one) for metric, one in found.items()]
    header = ("metric", "measurements", "timed runs", "spread of a run", "error of a network", "drift of the reference")
    plots = [
        captioned(drift_plot(one.reference, metric), f"{metric} of the reference over the run")
        for metric, one in found.items()
        if len(one.reference) > 1
    ]
    return section(
        "Noise and stability",
        table(header, rows, "How steady the device was"),
        side_by_side(*plots),
        bullets(_troubles(found)),
        note(
            "Spread is the robust standard deviation of single runs of the reference within a measurement, in percent "
            "of the median; error is the standard error of a network's ratio to the reference; both are typical "
            "values. Drift compares the last quarter of the measurements with the first. Each network is measured in "
            "turns with the reference, and counts as a ratio to it: what drifts does not enter the result."
        ),
    )


def _stability_row(metric: str, one: Stability) -> list[str]:
    made = ", ".join(f"{count} {purpose}" for purpose, count in one.measurements.items()) or "none"
    shares = (_number(100 * one.spread, " %"), _number(100 * one.error, " %"), _number(100 * one.drift, " %", "+"))
    return [metric, made, str(one.samples), *shares]


def _troubles(found: Mapping[str, Stability]) -> list[str]:
    """Returns a sentence for everything that went wrong, or was not in one piece."""
    lines = []
    for metric, one in found.items():
        lines += [f"Disturbed {count} times ({metric}): {reason}." for reason, count in one.disturbed.items()]
        lines += [f"{count} networks could not be run: {reason}" for reason, count in one.failures.items()]
        split = {parts: count for parts, count in one.partitions.items() if parts > 1}
        lines += [
            f"A delegate ran the network in {parts} parts, in {count} measurements." for parts, count in split.items()
        ]
        if 1 in one.partitions and not split:
            lines.append("The delegate ran every network in one piece.")
    if not any(one.disturbed or one.failures for one in found.values()):
        lines.append("No measurement was disturbed as far as the system tells, and none failed.")
    return list(dict.fromkeys(lines))


def _number(value: float, sign: str = "", plus: str = "") -> str:
    return _NONE if math.isnan(value) else typeset(f"{value:{plus}.2f}{sign}")
