"""Devices whose networks run in a process of their own on this machine."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_actnas.core.errors import InputError
from keras_actnas.devices.device import LATENCY, Device, Reading, Request
from keras_actnas.tflite_bench import DELEGATES, describe_device, load_runtime
from keras_actnas.tflite_bench.board import BoardState, disturbance, read_board_state
from keras_actnas.tflite_bench.memory import peak_memory
from keras_actnas.tflite_bench.process import NetworkError, WorkerProcess

COOLING_SECONDS = 60.0
"""How long a board that is too hot is left alone before it measures the next candidate all the same."""

WARMUP = 2


class ProcessDevice(Device):
    """This machine, with a runtime in a process of its own: a network that crashes it takes no measurement with it.

    Args:
      worker: The process that opens and measures networks.
    """

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._folder = Path(tempfile.mkdtemp(prefix="keras-actnas-"))
        self._end = weakref.finalize(self, _clean_up, worker, self._folder)
        self._reference: bytes = b""
        self._reference_file = Path()
        self._patience = COOLING_SECONDS

    def describe(self) -> Mapping[str, Any]:
        """Returns board, CPU, architecture, cores and versions of this machine."""
        return describe_device()

    def measure(self, candidate: bytes, reference: bytes, runs: int) -> Reading:
        """Measures the latency in ms; a candidate that crashes the runtime twice has failed."""
        return self._measure(candidate, reference, runs, reopen=False)

    def measure_as(self, candidate: bytes, reference: bytes, request: Request) -> Reading:
        """Measures the latency in ms, likewise, with networks that are opened anew if the request wants it."""
        return self._measure(candidate, reference, request.runs, request.reopen)

    def _measure(self, candidate: bytes, reference: bytes, runs: int, reopen: bool) -> Reading:
        if reference is not self._reference:
            self._reference_file = self._file(f"reference-{hashlib.sha256(reference).hexdigest()[:16]}", reference)
            self._reference = reference
        path = self._file("candidate", candidate)
        before = _cooled_down(self._patience)
        if before.hot:  # Waiting did not help, and will not help the next one.
            self._patience = 0.0
        try:
            try:
                made = self._worker.measure(path, self._reference_file, runs, reopen)
            except NetworkError as error:
                if not error.crashed:
                    raise
                # Memory may have been short.
                made = self._worker.measure(path, self._reference_file, runs, reopen)
        except NetworkError as error:
            return Reading(failure=str(error), conditions={"crashed": True} if error.crashed else {})
        after = read_board_state()
        conditions = {**made["conditions"], "before": before.to_json(), "after": after.to_json()}
        if reason := disturbance(before, after):
            conditions["disturbed"] = reason
        return Reading({LATENCY: made["samples"]}, {LATENCY: made["reference_samples"]}, conditions)

    def close(self) -> None:
        """Ends the process."""
        self._end()

    def _file(self, name: str, content: bytes) -> Path:
        path = self._folder / f"{name}{self.suffix}"
        try:
            path.write_bytes(content)
        except OSError as error:
            raise InputError(
                f"Expected room for a network of {len(content)} bytes. Received: {path.parent} ({error.strerror}); "
                "set TMPDIR to another folder."
            ) from error
        return path


class HostDevice(ProcessDevice):
    """This machine with a TFLite runtime: a workstation, a Raspberry Pi, whatever runs Python and NumPy.

    Args:
      num_threads: Threads of the interpreter.
      delegate: "xnnpack" or "none".
      runtime: "ai_edge_litert", "tflite_runtime" or "tf.lite"; the first one installed when None.
      precision: Precision of the networks: "float32", "float16" or "int8".

    Raises:
      InputError: An argument is out of its range.
      MissingDependencyError: The runtime is not installed.
    """

    name = "host"

    def __init__(
        self, num_threads: int = 1, delegate: str = "xnnpack", runtime: str | None = None, precision: str = "float32"
    ) -> None:
        if num_threads < 1:
            raise InputError(f"Expected num_threads of at least 1. Received: {num_threads}.")
        if delegate not in DELEGATES:
            raise InputError(f"Expected delegate to be one of {', '.join(DELEGATES)}. Received: {delegate!r}.")
        self._runtime = load_runtime(runtime)
        self._options: dict[str, Any] = {"num_threads": num_threads, "delegate": delegate}
        self._options["runtime"] = self._runtime.name
        self.precision = precision
        super().__init__(WorkerProcess(options=self._options, warmup=WARMUP))

    @property
    def conditions(self) -> Mapping[str, Any]:
        """Threads, delegate, runtime and its version, and the precision of the networks."""
        return {**self._options, "runtime_version": self._runtime.version, "precision": self.precision}

    def inspect(self, candidate: bytes) -> Mapping[str, float]:
        """Returns the peak resident size of a fresh process that runs the candidate, KiB."""
        found = peak_memory(self._file("inspected", candidate), **self._options)
        return {} if found is None else {"memory": found["peak_kib"]}


def _clean_up(worker: WorkerProcess, folder: Path) -> None:
    worker.close()
    shutil.rmtree(folder, ignore_errors=True)


def _cooled_down(seconds: float) -> BoardState:
    """Returns the state of the board when it is not too hot any more, or the time is over."""
    end = time.monotonic() + seconds
    state = read_board_state()
    while state.hot and time.monotonic() < end:
        time.sleep(1.0)
        state = read_board_state()
    return state
