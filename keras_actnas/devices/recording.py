"""Has a device measure assignments, into a journal, and never measures twice what the journal has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Journal, Measurement
from keras_actnas.devices.device import TRIES, Device, Network, Reading, Request

Progress = Callable[[Iterable[Assignment], str], Iterable[Assignment]]
"""Wraps what is worked through, with a label: `tqdm`-like."""

MORE_UNITS = {"memory": "KiB"}
"""Units of the metrics that devices tell when they inspect a network."""

_PASSING = ("machine", "system", "python", "numpy")
"""What may change on a board between two runs; the rest of a description tells one board from another."""


def record(
    device: Device, network: Network, request: Request, journal: Journal, progress: Progress | None = None
) -> dict[Assignment, list[Measurement]]:
    """Measures every assignment of a request that the journal does not have yet.

    Args:
      device: What measures.
      network: The converted network that candidates are made from.
      request: What to measure, and how.
      journal: Where every measurement goes as soon as it is made: one line a metric.
      progress: Wraps the assignments that are left, for a progress bar.

    Returns:
      Assignment -> its measurements, one a metric; of one that the device cannot run, a single one that says why.

    Raises:
      InputError: The journal is of another board, or the device is gone. What was measured is in the journal.
    """
    check_journal(device, journal, request.model)
    wanted = tuple(dict.fromkeys(request.assignments))
    done = recorded(device, journal, None if device.exact else request.purpose, request.least_runs)
    left = tuple(assignment for assignment in wanted if assignment not in done)
    if left:
        description = dict(device.describe())
        # As in a loop over `left`: a step when each assignment is done. One that is measured again has none left.
        label = f"{next(iter(device.metrics))} ({request.purpose})"
        bar = iter(progress(left, label) if progress else left)
        next(bar, None)
        seen: set[Assignment] = set()
        for assignment, reading in device.measure_all(network, dataclasses.replace(request, assignments=left)):
            lines = _measurements(device, assignment, reading, request, description)
            journal.append(*lines)
            done[assignment] = lines
            if assignment not in seen:
                next(bar, None)
                seen.add(assignment)
    return {assignment: done[assignment] for assignment in wanted}


def recorded(
    device: Device, journal: Journal, purpose: str | None = None, least_runs: int = 1
) -> dict[Assignment, list[Measurement]]:
    """Returns what the journal has of this device's measurements, by assignment; those that need not be made again.

    That is a measurement with enough runs that nothing disturbed, or one that failed, or one that was disturbed as
    often as it may be tried. A failure by a crash may have been the machine's, short of memory for a moment: that is
    tried again. Of several the last counts.

    Args:
      device: The device; measurements under other conditions do not count.
      journal: The journal.
      purpose: Purpose that measurements need to have; None for any.
      least_runs: How many samples the device's first metric needs.
    """
    main = next(iter(device.metrics))
    groups: dict[tuple[Assignment, str], list[Measurement]] = {}
    for made in journal:
        same = all(made.conditions.get(key) == value for key, value in device.conditions.items())
        if same and purpose in (None, made.purpose) and (made.metric in device.metrics or made.metric in MORE_UNITS):
            groups.setdefault((made.assignment, made.time), []).append(made)
    done: dict[Assignment, list[Measurement]] = {}
    tries: dict[Assignment, int] = {}
    for (assignment, _), lines in groups.items():
        first = next((line for line in lines if line.metric == main), None)
        if first is None or (not first.failure and len(first.samples) < least_runs):
            continue
        if first.conditions.get("crashed"):
            continue
        tries[assignment] = tries.get(assignment, 0) + 1
        if not first.conditions.get("disturbed") or tries[assignment] >= TRIES:
            done[assignment] = lines
    return done


def unsupported(
    device: Device, network: Network, activations: Sequence[str], journal: Journal, reference: Assignment, model: str
) -> dict[str, str]:
    """Returns, for each activation that the device cannot run at every site, the reason.

    Unsupported is not slow: such an activation has no cost, and a search must not choose it. A device that has measured
    already is not asked.

    Args:
      device: What measures.
      network: The converted network.
      activations: The candidates.
      journal: Where the measurements go, with the purpose "probe".
      reference: The network that each is measured beside.
      model: Fingerprint of the model.
    """
    if device.available is not None:
        return {}
    uniform = {name: Assignment.uniform(reference, name) for name in activations}
    request = Request(tuple(uniform.values()), reference, purpose="probe", model=model)
    made = record(device, network, request, journal)
    return {name: made[one][0].failure for name, one in uniform.items() if made[one][0].failure}


def board_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what tells one board from another in a device's description."""
    return {key: value for key, value in description.items() if key not in _PASSING}


def check_journal(device: Device, journal: Journal, model: str) -> None:
    """Raises `InputError` when a journal holds measurements of another device or another model."""
    own = board_of(device.describe())
    for made in journal:
        if made.metric not in device.metrics:
            continue
        if made.model != model:
            raise InputError(
                f"Expected a journal of this model, {model!r}. Received: {journal.path}, with measurements of "
                f"{made.model!r}: choose another file."
            )
        other = [key for key in own if key in made.device and made.device[key] != own[key]]
        if other:
            key = other[0]
            raise InputError(
                f"Expected a journal of this device. Received: {journal.path}, with measurements of one whose {key} is "
                f"{made.device[key]!r}, not {own[key]!r}. Two devices must not be mixed: choose another file."
            )


def as_reading(lines: Sequence[Measurement]) -> Reading:
    """Returns the reading that measurements with the same time were made of."""
    return Reading(
        {one.metric: one.samples for one in lines if not one.failure},
        {one.metric: one.reference_samples for one in lines if one.reference_samples},
        lines[0].conditions,
        lines[0].failure,
    )


def _measurements(
    device: Device, assignment: Assignment, reading: Reading, request: Request, description: dict[str, Any]
) -> list[Measurement]:
    """Returns the lines of one reading, which have the same time."""
    units = {**MORE_UNITS, **device.metrics}
    common = Measurement(
        next(iter(device.metrics)),
        next(iter(device.metrics.values())),
        assignment,
        (),
        purpose=request.purpose,
        model=request.model,
        conditions={**device.conditions, **reading.conditions},
        device=description,
        failure=reading.failure,
    )
    if reading.failure:
        return [common]
    return [
        dataclasses.replace(
            common,
            metric=metric,
            unit=units[metric],
            samples=tuple(map(float, samples)),
            reference_samples=tuple(map(float, reading.reference_samples.get(metric, ()))),
        )
        for metric, samples in reading.samples.items()
    ]
