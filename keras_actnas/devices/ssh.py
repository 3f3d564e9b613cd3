"""A board over SSH: the code that measures goes there, and measurements come back as they are made."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Measurement
from keras_actnas.devices.bundle import write_bundle
from keras_actnas.devices.device import Device, Network, Reading, Request
from keras_actnas.devices.plan import END, Plan
from keras_actnas.devices.recording import as_reading
from keras_actnas.devices.ssh_client import ConnectionLostError, SSHTarget

RETRY_SECONDS = (1, 2, 5, 10, 20, 30, 60, 60, 60, 60)
"""How long to wait before each try to connect again; then the device counts as gone."""


# Shell scripts with the name and the size of a file. A connection that is cut looks like the end of the file: hence the
# size. Two computers may send the same file at the same time: hence the number of the process.
_HAS = 'test "$(wc -c 2> /dev/null < "$0")" -eq "$1" 2> /dev/null && echo yes || :'
_RECEIVE = 'cat > "$0.$$" && test "$(wc -c < "$0.$$")" -eq "$1" && mv "$0.$$" "$0"'


class SSHDevice(Device):
    """A board that OpenSSH reaches and whose Python has NumPy and a TFLite runtime.

    The board measures by itself: a dropped connection does not stop it, and is made again. Passwords are not asked for;
    hosts have to be known, as `ssh` wants it.

    Args:
      target: Where the board is.
      num_threads: Threads of the interpreter.
      delegate: "xnnpack" or "none".
      precision: Precision of the networks.

    Raises:
      InputError: The board cannot be reached, or lacks something.
    """

    def __init__(
        self, target: SSHTarget, num_threads: int = 1, delegate: str = "xnnpack", precision: str = "float32"
    ) -> None:
        self.name = f"ssh://{target.host}"
        self.precision = precision
        self._target = target
        self._how: dict[str, Any] = {"num_threads": num_threads, "delegate": delegate}
        self._journal = ""
        self._sent: set[str] = set()
        try:
            self._code = self._send_code()
            told = json.loads(target.run([target.python, self._code, "--describe"]))
        except ConnectionLostError as error:
            raise InputError(f"Expected a board at {target.host}. Received: no connection ({error}).") from None
        except ValueError as error:
            raise InputError(f"Expected a description of the board. Received: {error}.") from error
        self._description, self._runtime = told["device"], told["conditions"]

    @classmethod
    def from_spec(
        cls, spec: str, num_threads: int = 1, delegate: str = "xnnpack", precision: str = "float32"
    ) -> SSHDevice:
        """Returns the device of `//USER@HOST:PORT/FOLDER?python=...&config=...`: see `SSHTarget`."""
        return cls(SSHTarget.parse(spec), num_threads, delegate, precision)

    def describe(self) -> Mapping[str, Any]:
        """Returns what the board says of itself."""
        return self._description

    @property
    def conditions(self) -> Mapping[str, Any]:
        """Threads, delegate, and the board's runtime with its version."""
        return {**self._runtime, **self._how, "precision": self.precision}

    def measure(self, candidate: bytes, reference: bytes, runs: int) -> Reading:
        """Refuses: the board makes candidates by itself, of assignments."""
        raise InputError("Expected assignments to measure over SSH (`measure_all`). Received: files of networks.")

    def measure_all(self, network: Network, request: Request) -> Iterator[tuple[Assignment, Reading]]:
        """Has the board measure, and yields each reading as it comes over the connection."""
        base = network.edit(network.reference)
        model = hashlib.sha256(base).hexdigest()[:16]
        request = dataclasses.replace(request, model=model)
        text = Plan(self.name, request, precision=self.precision, **self._how).dumps()
        self._journal = f"journal-{model}.jsonl"
        seen: set[tuple[Assignment, str]] = set()
        failed = 0
        while True:
            before = len(seen)
            try:
                file = self._send(f"network-{model}.tflite", base)
                plan = self._send(f"plan-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json", text.encode())
                yield from self._follow(file, plan, request, seen)
                self._forget()
                return
            except ConnectionLostError as error:
                failed = 0 if len(seen) > before else failed + 1
                if failed > len(RETRY_SECONDS):
                    raise InputError(
                        f"Expected a connection to {self._target.host}. Received: {error}, {failed} times. What was "
                        "measured is kept: the same command continues, also with what the board measures meanwhile."
                    ) from None
                time.sleep(RETRY_SECONDS[max(failed - 1, 0)])

    def _follow(
        self, network: str, plan: str, request: Request, seen: set[tuple[Assignment, str]]
    ) -> Iterator[tuple[Assignment, Reading]]:
        arguments = ["--network", network, "--plan", plan, "--out", self._journal, "--follow"]
        wanted, ending = set(request.assignments), ""
        together: dict[tuple[Assignment, str], list[Measurement]] = {}
        for line in self._target.stream([self._target.python, self._code, *arguments]):
            content = _content(line)
            if "assignment" in content:
                made = _measurement(content)
                if made.purpose == request.purpose and made.assignment in wanted and self._counts(made, request):
                    together.setdefault((made.assignment, made.time), []).append(made)
                continue
            for key, lines in together.items():  # An empty line follows what was written together.
                if key not in seen:
                    seen.add(key)
                    yield key[0], as_reading(lines)
            together.clear()
            ending = content.get(END, "")
        if not wanted <= {assignment for assignment, _ in seen}:
            raise InputError(f"Expected {self._target.host} to measure everything. Received: it stopped: {ending}")

    def _counts(self, made: Measurement, request: Request) -> bool:
        """Whether a line of the board's journal was made under this device's conditions, with runs enough."""
        same = all(made.conditions.get(key) == value for key, value in self.conditions.items())
        enough = made.failure or made.metric not in self.metrics or len(made.samples) >= request.least_runs
        return same and bool(enough)

    def close(self) -> None:
        """Ends what still measures on the board; what it has measured stays there, for the next time."""
        if self._journal:
            with contextlib.suppress(ConnectionLostError, InputError):
                self._target.run([self._target.python, self._code, "--out", self._journal, "--stop"])

    def _forget(self) -> None:
        """Removes the board's journal, all of which is here by now."""
        journal, self._journal = self._journal, ""
        with contextlib.suppress(ConnectionLostError):
            self._target.run(["rm", "-f", journal])

    def _send_code(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bench.pyz"
            write_bundle(path)
            content = path.read_bytes()
        return self._send(f"bench-{hashlib.sha256(content).hexdigest()[:16]}.pyz", content)

    def _send(self, name: str, content: bytes) -> str:
        """Copies a file to the board, whole or not at all, unless it has it; its name tells its content."""
        if name not in self._sent:
            size = str(len(content))
            if "yes" not in self._target.run(["sh", "-c", _HAS, name, size]):
                self._target.run(["sh", "-c", _RECEIVE, name, size], content)
            self._sent.add(name)
        return name


def _content(line: str) -> dict[str, Any]:
    """Returns what a line that came over the connection holds."""
    try:
        content = json.loads(line) if line.strip() else {}
        if not isinstance(content, dict):
            raise ValueError("no object")
    except ValueError as error:
        raise InputError(f"Expected measurements from the board. Received: {line[:100]!r} ({error}).") from error
    return content


def _measurement(content: dict[str, Any]) -> Measurement:
    try:
        made = Measurement.from_json(content)
        if made.reference_samples and len(made.reference_samples) != len(made.samples):
            raise ValueError("as many samples of the reference as of the candidate expected")
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"Expected a measurement from the board. Received: another thing ({error}).") from error
    return made
