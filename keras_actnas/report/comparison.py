"""Across devices: what the networks found for one cost on another, by the other's tables."""

from __future__ import annotations

import math

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.proposal import Proposal
from keras_actnas.core.table import Estimate, MetricTable
from keras_actnas.report.run import Run
from keras_actnas.report.text import aligned, change_text, value_text

_FINGERPRINT = "weights and structure"


def compare_runs(first: Run, second: Run) -> str:
    """Returns what the proposals of each run cost on the device of the other, as text.

    Raises:
      InputError: The runs are of different models, sites or reference activations.
    """
    check_comparable(first, second)
    lines = [f"{letter}: {run.device} ({run.path})" for letter, run in (("A", first), ("B", second))]
    lines += _remarks(first, second)
    for here, there in ((("B", second), ("A", first)), (("A", first), ("B", second))):
        lines += ["", *_block(here, there)]
    return "\n".join(lines)


def check_comparable(first: Run, second: Run) -> None:
    """Raises `InputError` when two runs are not of the same model with the same sites."""
    one, other = first.identity, second.identity
    same_network = one.get(_FINGERPRINT) == other.get(_FINGERPRINT)
    if not same_network and (first.model != second.model or one.get("input_shape") == other.get("input_shape")):
        difference = (
            f"{first.model!r} and {second.model!r}"
            if first.model != second.model
            else f"two of {first.model!r} that differ in structure or weights"
        )
        raise InputError(f"Expected two runs of one model. Received: {difference} ({first.path}, {second.path}).")
    mine, theirs = first.reference.assignment, second.reference.assignment
    for site in [*mine, *theirs]:
        if site not in mine or site not in theirs:
            without = second if site in mine else first
            raise InputError(
                f"Expected two runs with the same sites, {len(mine)} and {len(theirs)}. Received: {without.path}, "
                f"without {site!r}."
            )
        if mine[site] != theirs[site]:
            raise InputError(
                f"Expected two runs with the same reference. Received: {first.path}, with {mine[site]!r} at {site!r}, "
                f"and {second.path}, with {theirs[site]!r}."
            )


def predicted_difference(table: MetricTable, network: Assignment, other: Assignment) -> Estimate:
    """Returns what a network costs more than another, as a table predicts.

    What both share cancels, in the value and in the error.
    """
    weights = np.zeros(table.delta.shape)
    for assignment, sign in ((network, 1.0), (other, -1.0)):
        for cell in table.choices(assignment):
            weights[cell] += sign
    if not weights.any():
        return Estimate(0.0, 0.0)
    used = weights != 0
    value = float(np.sum(weights[used] * table.delta[used]))
    if table.covariance is None:
        variance = float(np.sum((weights[used] * table.standard_error[used]) ** 2))
    else:
        variance = max(float(weights.ravel() @ table.covariance @ weights.ravel()), 0.0)
    # What does not add up is every network's own; the reference has none of it.
    apart = sum(bool(one.swaps(table.reference)) for one in (network, other))
    return Estimate(value, math.sqrt(variance + apart * table.residual**2))


def _remarks(first: Run, second: Run) -> list[str]:
    shapes = [run.identity.get("input_shape") for run in (first, second)]
    if shapes[0] == shapes[1]:
        return []
    return [f"The runs are of different image sizes, {shapes[0]} and {shapes[1]}: compare changes, not values."]


def _block(here: tuple[str, Run], there: tuple[str, Run]) -> list[str]:
    """Returns the lines about the networks of both runs on the device of one."""
    (letter, run), (other_letter, other) = here, there
    rows = [
        ("reference", run.reference),
        *((f"{other_letter}: {row.name}", row) for row in other.proposals),
        *((f"{letter}: {row.name}", row) for row in run.proposals),
        *((row.name, row) for row in run.baselines),
    ]
    sentences = (
        _sentence(run, metric, f"{other_letter}: {other.best.name}", other.best, f"{letter}: {run.best.name}")
        for metric in _metrics(run)
    )
    return [
        f"On {run.device}, as its tables predict; changes are against the reference:",
        *aligned([_header(run), *(_row(run, name, row) for name, row in rows)]),
        *dict.fromkeys(sentences),  # What is the same for all metrics is said once.
    ]


def _metrics(run: Run) -> list[str]:
    return [metric for metric in run.units if metric in run.tables]


def _header(run: Run) -> list[str]:
    cells = ["network"]
    for metric in _metrics(run):
        unit = run.units[metric]
        cells += [f"{metric}, {unit}" if unit else metric, "predicted", run.found_how(metric)]
    return [*cells, "activations"]


def _row(run: Run, name: str, row: Proposal) -> list[str]:
    found = {one.assignment: one for one in (run.reference, *run.networks)}.get(row.assignment)
    cells = [name]
    for metric in _metrics(run):
        table, own = run.tables[metric], run.tables[metric].reference_value
        predicted = _predicted(table, row.assignment)
        cells.append(value_text(predicted, ""))
        if row is run.reference:
            cells += ["", ""]
        else:
            measured, base = found.measured.get(metric) if found else None, run.reference.measured.get(metric)
            cells += [change_text(predicted, own, table.unit), change_text(measured, base, table.unit)]
    counts = " ".join(f"{count} {activation}" for activation, count in row.assignment.counts().items())
    return [*cells, counts]


def _predicted(table: MetricTable, assignment: Assignment) -> Estimate | None:
    """Returns a prediction, or None where the device has no value for one of the activations."""
    try:
        return table.predict(assignment)
    except InputError:
        return None


def _sentence(run: Run, metric: str, name: str, guest: Proposal, own: str) -> str:
    """Returns one sentence on how a network found for another device compares with this device's own best."""
    table = run.tables[metric]
    if _predicted(table, guest.assignment) is None:
        return f"{name} cannot be predicted: {run.device} has no values for {_unknown(table, guest.assignment)}."
    difference = predicted_difference(table, guest.assignment, run.best.assignment)
    if guest.assignment == run.best.assignment:
        return f"{name} is the same network as {own}."
    estimated = " (an estimate)" if run.is_estimated(metric) else ""
    zero = Estimate(table.reference_value.value, 0.0)
    change = change_text(Estimate(zero.value + difference.value, difference.standard_error), zero, table.unit)
    of = " of the reference" if table.unit else ""
    clear = not abs(difference.value) < 2 * difference.standard_error
    end = "" if clear else ", not distinguishable from it"
    return f"{name} against {own}: {metric} {change}{of}{end}{estimated}."


def _unknown(table: MetricTable, assignment: Assignment) -> str:
    """Returns the activations that a table lacks at some of an assignment's sites, and at how many."""
    names = [name for site, name in assignment.items() if _predicted(table, Assignment({site: name})) is None]
    return f"{', '.join(dict.fromkeys(names))} at {len(names)} of {len(assignment)} sites"
