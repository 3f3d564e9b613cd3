"""Has a device measure assignments, into a journal, and never measures twice what the journal has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Journal, Measurement
from keras_actnas.devices.device import TRIES, Device, Network, Reading

Progress = Callable[[Iterable[Assignment], str], Iterable[Assignment]]
"""Wraps what is worked through, with a label: `tqdm`-like."""

MORE_UNITS = {"memory": "KiB", "tensor_memory": "KiB"}
"""Units of metrics that devices may report besides those that tables are made of."""

_PASSING = ("machine", "system", "python", "numpy")
"""What may change on a board between two runs; the rest of a description tells one board from another."""


def record(
    device: Device,
    network: Network,
    assignments: Sequence[Assignment],
    journal: Journal,
    *,
    reference: Assignment,
    runs: int,
    model_hash: str,
    purpose: str,
    least_runs: int = 1,
    progress: Progress | None = None,
) -> dict[Assignment, list[Measurement]]:
    """Measures every assignment that the journal does not have yet, each beside the reference.

    Args:
      device: What measures.
      network: The converted network that candidates are made from.
      assignments: What to measure, in this order.
      journal: Where every measurement goes as soon as it is made: one line a metric.
      reference: The network that each is measured beside.
      runs: Timed runs of each.
      model_hash: Fingerprint of the model.
      purpose: "design", "verify" or "confirm"; measurements for another purpose do not count as made, unless the device
        is exact.
      least_runs: A measurement that the journal has already counts if it has at least so many.
      progress: Wraps the assignments that are left, for a progress bar.

    Returns:
      Assignment -> its measurements, one a metric; of one that the device cannot run, a single one that says why.

    Raises:
      InputError: The journal is of another board, or the device is gone. What was measured is in the journal.
    """
    check_same_device(device, journal)
    wanted = list(dict.fromkeys(assignments))
    purposes = None if device.exact else purpose
    done = recorded(device, journal, purposes, least_runs)
    left = [assignment for assignment in wanted if assignment not in done]
    if left:
        description = dict(device.describe())
        made = device.measure_all(network, left, reference, runs)
        # One step of the bar for each assignment; one that is measured again has none left.
        bar = iter(progress(left, f"{next(iter(device.metrics))} ({purpose})") if progress else left)
        seen: set[Assignment] = set()
        for assignment, reading in made:
            lines = _measurements(device, assignment, reading, purpose, model_hash, description)
            journal.append(*lines)
            done[assignment] = lines
            if assignment not in seen:
                next(bar, None)
                seen.add(assignment)
        for _ in bar:  # Lets the bar end.
            pass
    return {assignment: done[assignment] for assignment in wanted}


def recorded(
    device: Device, journal: Journal, purpose: str | None = None, least_runs: int = 1
) -> dict[Assignment, list[Measurement]]:
    """Returns what the journal has of this device's measurements, by assignment; those that need not be made again.

    That is a measurement with enough runs that nothing disturbed, or one that failed, or one that was disturbed as
    often as it may be tried. Of several the last counts.

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
        tries[assignment] = tries.get(assignment, 0) + 1
        if not first.conditions.get("disturbed") or tries[assignment] >= TRIES:
            done[assignment] = lines
    return done


def check_same_device(device: Device, journal: Journal) -> None:
    """Raises `InputError` when a journal holds measurements of another device than this one."""
    own = dict(device.describe())
    for made in journal:
        if made.metric not in device.metrics:
            continue
        other = [key for key in own if key in made.device and made.device[key] != own[key] and key not in _PASSING]
        if other:
            key = other[0]
            raise InputError(
                f"Expected a journal of this device. Received: {journal.path}, with measurements of one whose {key} is "
                f"{made.device[key]!r}, not {own[key]!r}. Two devices must not be mixed: choose another file."
            )


def _measurements(
    device: Device, assignment: Assignment, reading: Reading, purpose: str, model: str, description: dict[str, object]
) -> list[Measurement]:
    """Returns the lines of one reading, which have the same time."""
    units = {**MORE_UNITS, **device.metrics}
    common = Measurement(
        next(iter(device.metrics)),
        next(iter(device.metrics.values())),
        assignment,
        (),
        purpose=purpose,
        model=model,
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
