"""A device whose measurements are in a file: a journal that a bundle wrote on a board."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Journal, Measurement
from keras_actnas.devices.device import LATENCY, Device, Network, Reading, Request
from keras_actnas.devices.recording import as_reading, board_of, recorded

_CONDITIONS = ("num_threads", "delegate", "runtime", "runtime_version", "precision")


class RecordedDevice(Device):
    """The board that wrote a journal, or several: whatever is not in them cannot be measured.

    Args:
      paths: The journals, of one board and one model.
      precision: Precision that the networks must have had; None for whichever it was.

    Raises:
      InputError: A journal cannot be read or is empty, or they are of different boards, models, or another precision.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], precision: str | None = None) -> None:
        self.name = f"journal:{','.join(Path(path).name for path in paths)}"
        journals = [_open(Path(path)) for path in paths]
        # Where threads or the runtime changed in between, what was measured last counts.
        self._last = journals[0].select(LATENCY)[-1]
        for journal in journals:
            for one in journal.select(LATENCY):
                for what, own, other in (
                    ("model", self._last.model, one.model),
                    ("board", board_of(self._last.device), board_of(one.device)),
                ):
                    if own != other:
                        raise InputError(
                            f"Expected journals of one {what}. Received: {journal.path}, with {own!r} and {other!r}."
                        )
        self.precision = self._last.conditions.get("precision", "float32")
        if precision not in (None, self.precision):
            raise InputError(f"Expected --precision={self.precision}, as was measured. Received: {precision!r}.")
        self.model = self._last.model
        self._digest = hashlib.sha256(b"".join(Path(path).read_bytes() for path in paths)).hexdigest()[:16]
        self._readings: dict[Assignment, list[Measurement]] = {}
        # A design's measurement of a network counts for the design, also where another was made to verify it.
        for purpose in ("verify", "design"):
            for journal in journals:
                self._readings.update(recorded(self, journal, purpose))
        self.available = {assignment: lines[0].purpose for assignment, lines in self._readings.items()}

    def describe(self) -> Mapping[str, Any]:
        """Returns the description of the board that measured, and what tells these measurements from later ones."""
        return {**self._last.device, "journal": self._digest}

    @property
    def conditions(self) -> Mapping[str, Any]:
        """Threads, delegate, runtime and version of the measurements, and the precision of the networks."""
        return {key: self._last.conditions[key] for key in _CONDITIONS if key in self._last.conditions}

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


def _open(path: Path) -> Journal:
    if not path.exists():
        raise InputError(f"Expected a journal that a bundle wrote. Received: {path}, which does not exist.")
    journal = Journal(path)
    if not journal.select(LATENCY):
        raise InputError(f"Expected a journal with latencies. Received: {path}, which has none.")
    return journal
