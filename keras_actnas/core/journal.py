"""The journal: append-only JSON lines, one measurement each, that survive a killed run."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: no advisory locks, so two writers are not noticed there.
    fcntl = None  # type: ignore[assignment]

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One measurement of one assignment, with its raw samples.

    Attributes:
      metric: "latency", "nwot", ...
      unit: Unit of the samples.
      assignment: What was measured.
      samples: Raw values, in the order of measuring; none when the measurement failed.
      reference_samples: Raw values of the reference network under the same conditions, one for each sample.
      purpose: Why it was made: "design" (to fit a table), "verify" (to check a proposal), ...
      model: Hash of the network that all assignments of the journal are made from.
      conditions: What else tells one measurement from another: seed, threads, runtime, ...
      device: Description of the machine.
      time: When it was made, UTC, ISO 8601.
      failure: Why the device cannot run the network; empty when it can.
    """

    metric: str
    unit: str
    assignment: Assignment
    samples: tuple[float, ...]
    reference_samples: tuple[float, ...] = ()
    purpose: str = "design"
    model: str = ""
    conditions: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    device: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    time: str = dataclasses.field(
        default_factory=lambda: datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
    )
    failure: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the measurement as values that JSON can hold."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**content, "assignment": dict(self.assignment)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Measurement:
        """Returns the measurement that `to_json` described."""
        tuples = {name: tuple(content[name]) for name in ("samples", "reference_samples")}
        return cls(**{**content, **tuples, "assignment": Assignment(content["assignment"])})


class Journal:
    """A file of measurements. Lines are only ever appended, and each is on the disk before `append` returns.

    A `with` block, or else the first `append`, takes the file for this process until `close` or the end of the
    outermost block: a second process that wants to write it gets an error.

    Args:
      path: The file; it is made with the first measurement.

    Raises:
      InputError: A line cannot be read. Only a last line without its end is what a kill leaves behind: it is dropped,
        and cut off when the next measurement is appended.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.measurements: list[Measurement] = []
        self._file: io.FileIO | None = None
        self._depth = 0
        try:
            content = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise InputError(f"Expected a journal that can be read. Received: {path} ({error.strerror}).") from error
        self._size = len(content)
        self._damaged = 0
        lines = content.splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("no end of line")
                measurement = Measurement.from_json(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                if number == len(lines) and not line.endswith(b"\n"):
                    self._damaged = len(line)
                    break
                raise InputError(
                    f"Expected a measurement a line. Received: line {number} of {path} ({error})."
                ) from error
            self.measurements.append(measurement)

    def append(self, *measurements: Measurement) -> None:
        """Adds measurements that were made together, in one piece, and waits until the disk has them.

        Raises:
          InputError: The file cannot be written, or another process writes it.
        """
        content = "".join(json.dumps(one.to_json(), separators=(",", ":")) + "\n" for one in measurements).encode()
        try:
            file = self._file or self._open()
            written = file.write(content)
            if written != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError as error:
            if self._file is not None:
                with contextlib.suppress(OSError):  # A full disk leaves part of a line: take it away again.
                    self._file.truncate(self._size)
            raise InputError(
                f"Expected a journal that can be written. Received: {self.path} ({error.strerror}). "
                f"The {len(self)} measurements in it are safe."
            ) from error
        self._size += len(content)
        self.measurements.extend(measurements)

    def _open(self) -> io.FileIO:
        file = self.path.open("ab", buffering=0)
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                raise InputError(
                    f"Expected a journal of one process. Received: {self.path}, which another writes."
                ) from None
        size = os.fstat(file.fileno()).st_size
        if size != self._size:
            file.close()
            raise InputError(
                f"Expected a journal of one process. Received: {self.path}, which changed since it was read."
            )
        self._size = file.truncate(size - self._damaged)
        self._damaged = 0
        self._file = file
        return file

    def close(self) -> None:
        """Lets other processes write the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Journal:
        """Takes the file for this process; raises `InputError` when another has it, or it cannot be written."""
        if self._file is None:
            try:
                self._open()
            except OSError as error:
                raise InputError(
                    f"Expected a journal that can be written. Received: {self.path} ({error.strerror})."
                ) from error
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.close()

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self.measurements)

    def __len__(self) -> int:
        return len(self.measurements)

    def select(self, metric: str, purpose: str | None = None) -> list[Measurement]:
        """Returns the measurements of one metric that did not fail, in the order they were made."""
        return [m for m in self.measurements if m.metric == metric and purpose in (None, m.purpose) and not m.failure]
