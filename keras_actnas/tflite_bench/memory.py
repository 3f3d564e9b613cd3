"""How much memory a process needs to run a .tflite."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from keras_actnas.core.errors import InputError
from keras_actnas.tflite_bench.process import package_environment
from keras_actnas.tflite_bench.runner import TFLiteRunner
from keras_actnas.tflite_bench.runtime import load_runtime

_STATUS = Path("/proc/self/status")
_CHILD = "from keras_actnas.tflite_bench.memory import main; main()"


def peak_memory(
    model_path: str | os.PathLike[str], num_threads: int = 1, delegate: str = "xnnpack", runtime: str | None = None
) -> dict[str, int] | None:
    """Returns the peak resident size of a process of its own that opens a .tflite and runs it twice.

    Args:
      model_path: The .tflite.
      num_threads: Threads of the interpreter.
      delegate: "xnnpack" or "none".
      runtime: Name of the runtime; the first one installed when None.

    Returns:
      {"peak_kib": the peak in KiB, "baseline_kib": what the process had with Python, NumPy and the runtime loaded and
      no model yet}; None on a system that does not tell (without /proc).

    Raises:
      InputError: The network cannot be run, or ends the process.
    """
    if _resident("VmHWM") is None:
        return None
    options = {"num_threads": num_threads, "delegate": delegate, "runtime": runtime}
    finished = subprocess.run(
        [sys.executable, "-c", _CHILD, os.fspath(model_path), json.dumps(options)],
        capture_output=True,
        text=True,
        env=package_environment(),
    )
    answer = finished.stdout.strip().rpartition("\n")[2]
    try:
        content = json.loads(answer)
    except ValueError:
        last = finished.stderr.strip().rpartition("\n")[2][:200]
        raise InputError(
            f"Expected a .tflite that runs in a process of its own. Received: {model_path}; the process ended with "
            f"status {finished.returncode} ({last})."
        ) from None
    if "error" in content:
        raise InputError(content["error"])
    return {"peak_kib": content["peak_kib"], "baseline_kib": content["baseline_kib"]}


def main() -> None:
    """Is the process: runs the network that the command line names and prints what it took, as a line of JSON."""
    path, options = sys.argv[1], json.loads(sys.argv[2])
    content: dict[str, int | str | None]
    try:
        runtime = load_runtime(options["runtime"])
        baseline = _resident("VmRSS")
        runner = TFLiteRunner(path, options["num_threads"], options["delegate"], runtime)
        runner.warm_up(2)
        content = {"peak_kib": _resident("VmHWM"), "baseline_kib": baseline}
    except InputError as error:
        content = {"error": str(error)}
    print(json.dumps(content))


def _resident(field: str) -> int | None:
    """Returns VmHWM (peak) or VmRSS (now) of this process in KiB; None if the system does not tell.

    Not `resource.getrusage`: its `ru_maxrss` outlives an exec, so a process starts with the size of the one that
    started it, TensorFlow and all.
    """
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(values[field].split()[0]) if field in values else None
