"""Times a .tflite, interleaved with a reference, and keeps every sample."""

from __future__ import annotations

import dataclasses
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.core.stats import LatencySummary, PairedRatio, paired_ratio, summarize
from keras_actnas.tflite_bench.flatbuffer import check_whole
from keras_actnas.tflite_bench.runtime import DELEGATES, Runtime, load_runtime

DEFAULT_RUNS = 50
DEFAULT_WARMUP = 5


class TFLiteRunner:
    """One .tflite in one interpreter, fed with fixed random inputs.

    Args:
      model: Path or bytes of the .tflite.
      num_threads: Threads of the interpreter.
      delegate: "xnnpack" (on by default in every runtime) or "none" for the built-in kernels.
      runtime: A runtime of `load_runtime`; the first one installed when None.
      seed: Seed of the random input.

    Raises:
      InputError: Not a .tflite, truncated, dynamic shapes, or an operator that the runtime lacks.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes,
        num_threads: int = 1,
        delegate: str = "xnnpack",
        runtime: Runtime | None = None,
        seed: int = 0,
    ) -> None:
        if num_threads < 1:
            raise InputError(f"Expected num_threads of at least 1. Received: {num_threads}.")
        if delegate not in DELEGATES:
            raise InputError(f"Expected delegate to be one of {', '.join(DELEGATES)}. Received: {delegate!r}.")
        self.runtime = runtime or load_runtime()
        self.num_threads = num_threads
        self.delegate = delegate
        self.name = "the given bytes" if isinstance(model, bytes) else str(model)
        self._interpreter = self._open(_read(model))
        self._set_inputs(np.random.default_rng(seed))

    def _open(self, data: bytes) -> Any:
        options: dict[str, Any] = {"num_threads": self.num_threads}
        if self.delegate == "none":
            options["experimental_op_resolver_type"] = self.runtime.plain_resolver
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
                interpreter = self.runtime.interpreter(model_content=data, **options)
            for detail in interpreter.get_input_details():
                if np.min(detail["shape_signature"], initial=1) < 0:
                    raise InputError(
                        f"Expected a .tflite with static shapes. Received: {self.name}, whose input "
                        f"{detail['name']!r} has shape {[int(n) for n in detail['shape_signature']]}. "
                        "Convert it with a fixed batch of 1 (`keras-actnas convert` does)."
                    )
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"Expected a .tflite that {self.runtime.name} {self.runtime.version} can run. "
                f"Received: {self.name} ({_one_line(error)})."
            ) from error
        return interpreter

    def _set_inputs(self, rng: np.random.Generator) -> None:
        for detail in self._interpreter.get_input_details():
            shape, dtype = detail["shape"], np.dtype(detail["dtype"])
            if dtype.kind == "f":
                value = rng.random(shape)
            elif dtype.kind in "iu":
                limits = np.iinfo(dtype)
                value = rng.integers(max(limits.min, -128), min(limits.max, 255), shape, endpoint=True)
            else:
                raise InputError(f"Expected numeric inputs. Received: {self.name} with an input of type {dtype}.")
            self._interpreter.set_tensor(detail["index"], value.astype(dtype))

    def run(self) -> float:
        """Runs the network once; returns the time of the invocation in milliseconds."""
        start = time.perf_counter_ns()
        self._interpreter.invoke()
        return (time.perf_counter_ns() - start) / 1e6

    def warm_up(self, runs: int) -> None:
        """Runs the network `runs` times, at least once, and makes sure that its outputs are finite.

        Raises:
          InputError: The network cannot be run, or an output holds NaN or infinity: what is timed would not be what
            the network is for.
        """
        try:
            for _ in range(max(runs, 1)):
                self.run()
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"Expected a .tflite that runs on random inputs. Received: {self.name} ({_one_line(error)})."
            ) from error
        for output in self.outputs():
            if output.dtype.kind == "f" and not np.isfinite(output).all():
                raise InputError(
                    f"Expected finite outputs. Received: {int((~np.isfinite(output)).sum())} of {output.size} values "
                    f"NaN or infinite from {self.name}. Check the weights of the model (did its training diverge?)."
                )

    def outputs(self) -> list[np.ndarray]:
        """Returns copies of the outputs of the last run."""
        return [self._interpreter.get_tensor(detail["index"]) for detail in self._interpreter.get_output_details()]


@dataclasses.dataclass(frozen=True)
class LatencyMeasurement:
    """Raw times of a .tflite and of the reference it alternated with.

    Attributes:
      samples: Times of the candidate in milliseconds, in the order of measuring.
      reference_samples: Times of the reference in milliseconds; sample i was taken right beside candidate sample i.
        Empty when there was no reference.
      conditions: Threads, delegate, runtime and version, runs and warm-up runs.
    """

    samples: tuple[float, ...]
    reference_samples: tuple[float, ...]
    conditions: dict[str, str | int]

    @property
    def summary(self) -> LatencySummary:
        """Median, 95th percentile, spread and standard error of the candidate's times."""
        return summarize(self.samples)

    @property
    def ratio(self) -> PairedRatio:
        """Candidate over reference, with its standard error."""
        if not self.reference_samples:
            raise InputError("Expected a measurement that was interleaved with a reference. Received: one without.")
        return paired_ratio(self.samples, self.reference_samples)


def measure(
    model: str | os.PathLike[str] | bytes | TFLiteRunner,
    reference: str | os.PathLike[str] | bytes | TFLiteRunner | None = None,
    *,
    runs: int = DEFAULT_RUNS,
    warmup: int = DEFAULT_WARMUP,
    num_threads: int = 1,
    delegate: str = "xnnpack",
    runtime: Runtime | None = None,
) -> LatencyMeasurement:
    """Measures the latency of a .tflite on this machine, batch 1 (ActNAS section 3.2: 50 runs).

    With a `reference`, the two take turns, and who goes first alternates: whatever slows the machine down for a while
    then slows both, and their ratio keeps its meaning.

    Args:
      model: Path or bytes of a .tflite, or a runner that is already open.
      reference: The network to compare with, likewise.
      runs: Timed runs of each.
      warmup: Runs of each before the first timed one (at least one, which also checks that outputs are finite).
      num_threads: Threads, for models that are opened here.
      delegate: "xnnpack" or "none", likewise.
      runtime: Runtime to open models with.

    Raises:
      InputError: `runs` is below 1, or a model cannot be used.
    """
    if runs < 1:
        raise InputError(f"Expected at least 1 run. Received: runs={runs}.")
    candidate = _runner(model, num_threads, delegate, runtime)
    other = None if reference is None else _runner(reference, num_threads, delegate, runtime)
    for runner in (candidate, other):
        if runner is not None:
            runner.warm_up(warmup)
    samples, reference_samples = [], []
    for number in range(runs):
        if other is None:
            samples.append(candidate.run())
        elif number % 2:
            samples.append(candidate.run())
            reference_samples.append(other.run())
        else:
            reference_samples.append(other.run())
            samples.append(candidate.run())
    conditions: dict[str, str | int] = {
        "runtime": candidate.runtime.name,
        "runtime_version": candidate.runtime.version,
        "num_threads": candidate.num_threads,
        "delegate": candidate.delegate,
        "runs": runs,
        "warmup": max(warmup, 1),
    }
    return LatencyMeasurement(tuple(samples), tuple(reference_samples), conditions)


def _runner(model: Any, num_threads: int, delegate: str, runtime: Runtime | None) -> TFLiteRunner:
    return model if isinstance(model, TFLiteRunner) else TFLiteRunner(model, num_threads, delegate, runtime)


def _read(model: str | os.PathLike[str] | bytes) -> bytes:
    name = "the given bytes" if isinstance(model, bytes) else str(model)
    try:
        data = model if isinstance(model, bytes) else Path(model).read_bytes()
    except OSError as error:
        raise InputError(f"Expected a .tflite file. Received: {name} ({error.strerror}).") from error
    if data[4:8] != b"TFL3":
        raise InputError(f"Expected a .tflite file (identifier TFL3). Received: {name}, which is something else.")
    try:
        check_whole(data)
    except ValueError as error:
        raise InputError(f"Expected a whole .tflite file. Received: {name}, {error}.") from error
    return data


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
