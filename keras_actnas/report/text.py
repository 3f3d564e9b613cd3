"""Results as text that a person reads in a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from keras_actnas.core.constraints import Constraint
from keras_actnas.core.proposal import Proposal
from keras_actnas.core.table import Estimate


def proposals_table(
    reference: Proposal,
    proposals: Sequence[Proposal],
    baselines: Sequence[Proposal],
    units: Mapping[str, str],
    constraints: Sequence[Constraint] = (),
    others: Mapping[str, str] | None = None,
) -> str:
    """Returns a table with a line for the reference, every proposal and every baseline: predicted beside measured.

    Predicted and measured are changes against the reference: in percent for a metric with a unit, and as differences
    for a score, whose zero means nothing.

    Args:
      reference: The reference network, measured.
      proposals: Verified proposals, the best first.
      baselines: Networks to compare with.
      units: Metric -> unit, in the order of the columns; empty for a score.
      constraints: Below the table it says which networks keep them.
      others: Metric -> unit, of metrics that nothing was asked of: of these only the measured change has a column.
    """
    others = others or {}
    header = ["network"]
    for metric, unit in units.items():
        header += [f"{metric}, {unit}" if unit else metric, "predicted", "measured"]
    lines = [[*header, *others, "activations"]]
    for row in (reference, *proposals, *baselines):
        cells = [row.name]
        for metric, unit in units.items():
            value, own = row.measured.get(metric), reference.measured.get(metric)
            cells.append(value_text(value, ""))
            if row is reference:
                cells += ["", ""]
            else:
                cells += [change_text(row.predicted.get(metric), own, unit), change_text(value, own, unit)]
        for metric, unit in others.items():
            value, own = row.measured.get(metric), reference.measured.get(metric)
            cells.append(value_text(value, unit) if row is reference else change_text(value, own, unit))
        counts = " ".join(f"{count} {name}" for name, count in row.assignment.counts().items())
        lines.append([*cells, counts])
    return "\n".join([*aligned(lines), *constraint_lines(reference, [*proposals, *baselines], constraints)])


def verdict(reference: Proposal, best: Proposal, metric: str, unit: str) -> str:
    """Returns one sentence on whether the best proposal really differs from the reference in a metric.

    A difference below twice its standard error is not distinguishable from none.
    """
    own, found = reference.measured.get(metric), best.measured.get(metric)
    if own is None or found is None:
        return f"{best.name}: {metric} {change_text(best.predicted.get(metric), own, unit)} predicted, not measured."
    difference = found.value - own.value
    change = change_text(found, own, unit)
    if not math.isnan(found.standard_error) and abs(difference) < 2 * found.standard_error:
        return f"{best.name}: {metric} {change}, not distinguishable from the reference."
    return f"{best.name}: {metric} {change} against the reference."


def constraint_lines(reference: Proposal, rows: Sequence[Proposal], constraints: Sequence[Constraint]) -> list[str]:
    """Returns, for each constraint, which networks keep it as measured, which miss it by no more than their error."""
    lines = []
    for constraint in constraints:
        names: dict[str, list[str]] = {"kept": [], "within its error": [], "broken": [], "not measured": []}
        for row in rows:
            names[row.standing(constraint, reference)].append(row.name)
        parts = [f"{standing}: {', '.join(those)}" for standing, those in names.items() if those]
        lines.append(f"{constraint}, as measured - {'; '.join(parts)}.")
    return lines


def value_text(estimate: Estimate | None, unit: str) -> str:
    """Returns a value with its unit, or a hyphen for none."""
    if estimate is None:
        return "-"
    value = estimate.value
    digits = 0 if abs(value) >= 1e4 else 2 if abs(value) >= 10 else 4
    return f"{value:.{digits}f} {unit}".rstrip()


def change_text(estimate: Estimate | None, reference: Estimate | None, unit: str) -> str:
    """Returns the change against the reference, with its error: in percent for a metric with a unit."""
    if estimate is None or reference is None:
        return "-"
    scale, sign = scale_of_changes(reference, unit)
    text = f"{(estimate.value - reference.value) * scale:+.2f}"
    error = estimate.standard_error * abs(scale)
    return f"{text}{sign}" if math.isnan(error) or error == 0 else f"{text} +- {error:.2f}{sign}"


def scale_of_changes(reference: Estimate, unit: str) -> tuple[float, str]:
    """Returns what changes against the reference are multiplied with, and the sign behind them.

    That is percent for a metric with a unit, but nothing is a share of zero; scores are differences, since their zero
    means nothing.
    """
    if unit and reference.value:
        return 100 / reference.value, " %"
    return 1.0, f" {unit}" if unit else ""


def aligned(rows: list[list[str]]) -> list[str]:
    """Returns the lines of a table whose first row is the header: numbers to the right, outer columns to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        middle = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *middle, row[-1]]).rstrip())
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]
