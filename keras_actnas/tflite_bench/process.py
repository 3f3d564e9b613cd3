"""The other end of `worker`: starts the process that runs networks, and starts it anew when a network ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras_actnas
from keras_actnas.core.errors import InputError

TFLITE = "keras_actnas.tflite_bench.worker:open_tflite"


class NetworkError(Exception):
    """A candidate cannot be measured; the message says why.

    Attributes:
      crashed: Whether it ended the process that ran it.
    """

    def __init__(self, message: str, crashed: bool = False) -> None:
        super().__init__(message)
        self.crashed = crashed


def package_environment() -> dict[str, str]:
    """Returns an environment in which Python finds this package: in its folder, or in the zip file that it is in."""
    here = str(Path(keras_actnas.__file__).parents[1])
    paths = [here, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


class LineProcess:
    """A Python process that answers each line of JSON with one, and is started anew when something has ended it.

    Args:
      module: The module that it runs, by `keras_actnas.tflite_bench.worker.serve`.
      arguments: Its arguments.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: subprocess.Popen[str] | None = None
        self._printed: Any = None

    @property
    def pid(self) -> int | None:
        """Number of the process; None when none runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Starts the process, if none runs."""
        if self.pid is not None:
            return
        self.close()
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            text=True,
            encoding="utf-8",
            env=package_environment(),
            # Ctrl-C in a terminal is for the process that keeps the journal: this one must not look as if it crashed.
            start_new_session=True,
        )

    def ask(self, request: Mapping[str, Any]) -> Any:
        """Returns the answer to a request.

        Raises:
          NetworkError: The answer is an error, or the process ended; the next call starts another.
        """
        self.start()
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        try:
            print(json.dumps(request), file=process.stdin, flush=True)
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        except BaseException:  # Whoever asks next must not get the answer that is still to come.
            self.close()
            raise
        if not answer:
            raise NetworkError(self._ending(), crashed=True)
        content = json.loads(answer)
        if "error" in content:
            raise NetworkError(content["error"])
        return content

    def _ending(self) -> str:
        """Returns how the process ended, with the last line that it printed, and forgets it."""
        assert self._process is not None
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        self._printed.seek(0)
        lines = self._printed.read().decode(errors="replace").strip().splitlines()
        self.close()
        # What a runtime says when it starts is no reason.
        said = [line for line in lines if not line.startswith("INFO:")][-1:]
        return f"the process that ran it ended with {how}" + (f" ({said[0].strip()[:200]})" if said else "")

    def kill(self) -> None:
        """Ends the process from another thread than the one that asks it, which is told so by a `NetworkError`."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, self._printed):
                if stream is not None:
                    stream.close()


class WorkerProcess:
    """A process that measures candidates beside a reference network.

    Args:
      factory: What opens a network, as module:function; see `keras_actnas.tflite_bench.worker`.
      options: Its options, as values that JSON can hold.
      warmup: Untimed runs of each network.
    """

    def __init__(self, factory: str = TFLITE, options: Mapping[str, Any] | None = None, warmup: int = 2) -> None:
        self._process = LineProcess("keras_actnas.tflite_bench.worker", factory, json.dumps(options or {}))
        self._warmup = warmup
        self._reference: str | None = None

    def measure(
        self,
        candidate: str | os.PathLike[str],
        reference: str | os.PathLike[str],
        runs: int,
        reopen: bool = False,
    ) -> Any:
        """Measures a candidate beside the reference.

        Args:
          candidate: The candidate's file.
          reference: The reference's file.
          runs: Timed runs of each, in turns.
          reopen: Whether both are opened several times among the runs, not once: see `tflite_bench.measure`.

        Returns:
          {"samples": [...], "reference_samples": [...], "conditions": {...}}; samples in ms.

        Raises:
          NetworkError: The candidate cannot be used, or it ended the process; the next call starts another.
          InputError: The reference cannot be used.
        """
        if self._process.pid is None or self._reference != os.fspath(reference):
            self._open_reference(os.fspath(reference))
        request = {"candidate": os.fspath(candidate), "runs": runs, "warmup": self._warmup, "reopen": reopen}
        return self._process.ask(request)

    def _open_reference(self, reference: str) -> None:
        self.close()
        try:
            self._process.ask({"reference": reference, "warmup": self._warmup})
        except NetworkError as error:
            self.close()
            raise InputError(
                f"Expected a reference network that runs here. Received: one that does not: {error}"
            ) from None
        self._reference = reference

    def close(self) -> None:
        """Ends the process."""
        self._process.close()
        self._reference = None
