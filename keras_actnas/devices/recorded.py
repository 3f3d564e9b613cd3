"""A device whose measurements are in a file: a journal that a bundle wrote on a board."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Journal, Measurement
from keras_actnas.devices.device import LATENCY, Device, Network, Reading, Request
from keras_actnas.devices.recording import as_reading, board_of, recorded

_CONDITIONS = ("num_threads", "delegate", "runtime", "runtime_version")


class RecordedDevice(Device):
    """The board that wrote a journal, or several: whatever is not in them cannot be measured.

    Args:
      paths: The journals, of one board and one model.
      precision: Precision of the network that was measured.

    Raises:
      InputError: A journal cannot be read or is empty, or they are of different boards, models or conditions.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], precision: str = "float32") -> None:
        self.name = f"journal:{','.join(Path(path).name for path in paths)}"
        self.precision = precision
        self._readings: dict[Assignment, list[Measurement]] = {}
        self._first: Measurement | None = None
        for path in paths:
            self._read(Path(path))
        self.model = self._recorded.model
        self.available = {assignment: lines[0].purpose for assignment, lines in self._readings.items()}

    def _read(self, path: Path) -> None:
        if not path.exists():
            raise InputError(f"Expected a journal that a bundle wrote. Received: {path}, which does not exist.")
        journal = Journal(path)
        made = [one for one in journal if one.metric == LATENCY]
        if not made:
            raise InputError(f"Expected a journal with latencies. Received: {path}, which has none.")
        self._first = self._first or made[0]
        for one in made:
            for what, own, other in (
                ("model", self._first.model, one.model),
                ("board", board_of(self._first.device), board_of(one.device)),
                ("conditions", _conditions(self._first), _conditions(one)),
            ):
                if own != other:
                    raise InputError(f"Expected journals of one {what}. Received: {path}, with {own!r} and {other!r}.")
        # A design's measurement of a network counts for the design, also where another was made to verify it.
        for purpose in ("verify", "design"):
            self._readings.update(recorded(self, journal, purpose))

    @property
    def _recorded(self) -> Measurement:
        assert self._first is not None
        return self._first

    def describe(self) -> Mapping[str, Any]:
        """Returns the description of the board that measured."""
        return self._recorded.device

    @property
    def conditions(self) -> Mapping[str, Any]:
        """Threads, delegate, runtime and version of the measurements."""
        return {} if self._first is None else _conditions(self._first)

    def measure(self, candidate: bytes, reference: bytes, runs: int) -> Reading:
        """Refuses: what is not in the journal cannot be measured."""
        raise InputError(f"Expected a network that is in {self.name}. Received: another, which cannot be measured now.")

    def measure_all(self, network: Network, request: Request) -> Iterator[tuple[Assignment, Reading]]:
        """Yields what the journal says of each assignment."""
        for assignment in request.assignments:
            lines = self._readings.get(assignment)
            if lines is None:
                raise InputError(f"Expected networks that are in {self.name}. Received: one that is not.")
            yield assignment, as_reading(lines)


def _conditions(measurement: Measurement) -> dict[str, Any]:
    return {key: measurement.conditions[key] for key in _CONDITIONS if key in measurement.conditions}
