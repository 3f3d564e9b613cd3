"""Results as text that a person reads in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from keras_actnas.core.constraints import Constraint
from keras_actnas.core.proposal import Proposal
from keras_actnas.core.table import Estimate


def format_estimate(estimate: Estimate | None, digits: int = 2) -> str:
    """Returns `12.34 +- 0.05`, without the error where it is not known, or `-` for nothing."""
    if estimate is None:
        return "-"
    if math.isnan(estimate.standard_error) or estimate.standard_error == 0:
        return f"{estimate.value:.{digits}f}"
    return f"{estimate.value:.{digits}f} +- {estimate.standard_error:.{digits}f}"


def proposals_table(
    reference: Proposal,
    proposals: Sequence[Proposal],
    baselines: Sequence[Proposal],
    units: dict[str, str],
    constraints: Sequence[Constraint] = (),
) -> str:
    """Returns a table with a line for the reference, every proposal and every baseline: predicted beside measured.

    Args:
      reference: The reference network, measured.
      proposals: Verified proposals, the best first.
      baselines: Networks to compare with.
      units: Metric -> unit, in the order of the columns.
      constraints: Marks the networks whose measured metrics break one.
    """
    header = ["", *(head for metric in units for head in _heads(metric, units[metric])), "activations"]
    rows = [header]
    for row in (reference, *proposals, *baselines):
        cells = [row.name]
        for metric in units:
            predicted, measured = row.predicted.get(metric), row.measured.get(metric)
            change = "" if row is reference else _change(measured, reference.measured.get(metric))
            cells += [format_estimate(predicted), format_estimate(measured), change]
        broken = [] if row is reference else _broken(row, reference, constraints)
        counts = ", ".join(f"{count} {name}" for name, count in row.assignment.counts().items())
        rows.append([*cells, counts + (f"  [breaks {'; '.join(broken)}]" if broken else "")])
    return _aligned(rows)


def _heads(metric: str, unit: str) -> list[str]:
    return [f"{metric} predicted", f"measured{f' ({unit})' if unit else ''}", "change"]


def _change(measured: Estimate | None, reference: Estimate | None) -> str:
    if measured is None or reference is None or reference.value == 0:
        return ""
    return f"{100 * (measured.value / reference.value - 1):+.1f} %"


def _broken(row: Proposal, reference: Proposal, constraints: Sequence[Constraint]) -> list[str]:
    return [
        str(constraint)
        for constraint in constraints
        if constraint.metric in row.measured
        and not constraint.holds(row.measured[constraint.metric].value, reference.measured[constraint.metric].value)
    ]


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column in (0, len(row) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def verdict(reference: Proposal, best: Proposal, metric: str = "latency") -> str:
    """Returns one sentence on whether the best proposal really differs from the reference in a metric.

    A difference below twice its standard error is not distinguishable from none.
    """
    own, found = reference.measured[metric], best.measured[metric]
    change = found.value - own.value
    percent = 100 * change / own.value
    error = found.standard_error
    if not math.isnan(error) and abs(change) < 2 * error:
        return f"{best.name} is not distinguishable from the reference in {metric}: {percent:+.1f} % +- {100 * error / own.value:.1f} %."
    word = "lower" if change < 0 else "higher"
    return f"{best.name} has a {abs(percent):.1f} % {word} {metric} than the reference (standard error {100 * error / own.value:.1f} %)."
