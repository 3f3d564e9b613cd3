"""Runs an ONNX file in ONNX Runtime, with the execution provider that is asked for and no other in its place."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.devices.onnx_providers import find_provider, import_runtime, install_hint, short_name
from keras_actnas.tflite_bench.runner import check_finite, random_input

# What a provider cannot run goes to these, one after the other, and last to the CPU.
_HELPERS = {"TensorrtExecutionProvider": ["CUDAExecutionProvider"]}
_DTYPES = {"float": "float32", "double": "float64"}
_ERRORS_ONLY = 3  # Severity of what ONNX Runtime logs.


@dataclasses.dataclass(frozen=True)
class ONNXRuntime:
    """The ONNX Runtime that is installed here."""

    version: str
    name: str = "onnxruntime"


class Execution(TypedDict):
    """What ONNX Runtime makes of a network, as values that JSON can hold.

    Attributes:
      operators: Operator, after optimization, -> how many were run, the most frequent first. A convolution with an
        activation fused into it counts as a convolution, a network that TensorRT has compiled as one operator.
      providers: Provider -> how many operators it ran.
      fallback: Operator -> how many were not run by the provider that was asked for; empty when it ran them all.
    """

    operators: dict[str, int]
    providers: dict[str, int]
    fallback: dict[str, int]


class ONNXRunner:
    """One ONNX file in one session of ONNX Runtime, fed with fixed random inputs.

    Graph optimization is ONNX Runtime's default, all of it. The first run is made, and watched, here.

    Args:
      model: Path or bytes of the ONNX file.
      num_threads: Threads of the session; with another provider than "cpu", of what is left to the CPU.
      provider: Execution provider: "cpu", "cuda", "tensorrt", ..., or its full name in ONNX Runtime.
      seed: Seed of the random input.

    Attributes:
      init_ms: How long it took to open the session, in ms.
      first_ms: Time of the very first run, in ms.
      execution: What ONNX Runtime made of the network, and what other providers had to run.

    Raises:
      InputError: No ONNX file, dynamic shapes, an operator that the runtime lacks, or a provider that is not here or
        does not start: nothing else takes its place.
      MissingDependencyError: onnxruntime is not installed.
    """

    def __init__(
        self, model: str | os.PathLike[str] | bytes, num_threads: int = 1, provider: str = "cpu", seed: int = 0
    ) -> None:
        if num_threads < 1:
            raise InputError(f"Expected num_threads of at least 1. Received: {num_threads}.")
        onnxruntime = import_runtime()
        self.runtime = ONNXRuntime(onnxruntime.__version__)
        self.num_threads = num_threads
        self.provider = find_provider(provider)
        self.delegate = short_name(self.provider)
        self.name = "the given bytes" if isinstance(model, bytes) else str(model)
        with tempfile.TemporaryDirectory(prefix="keras-actnas-") as folder:
            start = time.perf_counter_ns()
            self._session = self._open(onnxruntime, model, Path(folder, "profile"))
            self.init_ms = (time.perf_counter_ns() - start) / 1e6
            try:
                self._inputs = self._random_inputs(np.random.default_rng(seed))
                self.first_ms = self._checked_run()
            finally:
                profile = Path(self._session.end_profiling())
            self.execution = _read_profile(json.loads(profile.read_text(encoding="utf-8")), self.provider)

    def run(self) -> float:
        """Runs the network once; returns the time in ms, with that of copies to and from the provider's memory."""
        start = time.perf_counter_ns()
        self._outputs = self._session.run(None, self._inputs)
        return (time.perf_counter_ns() - start) / 1e6

    def warm_up(self, runs: int) -> tuple[float, ...]:
        """Runs the network `runs` times, at least once, and makes sure that its outputs are finite; returns the times.

        Raises:
          InputError: The network cannot be run, or an output holds NaN or infinity: what is timed would not be what
            the network is for.
        """
        times = tuple(self._checked_run() for _ in range(max(runs, 1)))
        check_finite(self.outputs(), self.name)
        return times

    def outputs(self) -> list[np.ndarray]:
        """Returns copies of the outputs of the last run."""
        return [np.array(output) for output in self._outputs]

    def _open(self, onnxruntime: Any, model: str | os.PathLike[str] | bytes, profile: Path) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.num_threads
        options.log_severity_level = _ERRORS_ONLY
        # Between runs, threads that wait busily would take the cores from the network that is measured in turns.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
        providers = [self.provider, *_HELPERS.get(self.provider, [])]
        try:
            # By default a session whose provider fails is made once more, with the CPU alone.
            session = onnxruntime.InferenceSession(
                model if isinstance(model, bytes) else os.fspath(model), options, providers, enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime's errors have no base class but this.
            raise InputError(
                f"Expected an ONNX file that onnxruntime {self.runtime.version} can run on {self.delegate}. "
                f"Received: {self.name} ({_one_line(error)})."
            ) from error
        if self.provider not in session.get_providers():
            raise InputError(
                f"Expected the provider {self.delegate!r} to start. Received: a session with {session.get_providers()} "
                f"instead. It needs: {install_hint(self.delegate)}; the versions have to fit onnxruntime "
                f"{self.runtime.version}."
            )
        return session

    def _random_inputs(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        inputs = {}
        for value in self._session.get_inputs():
            if not all(isinstance(size, int) and size > 0 for size in value.shape):
                raise InputError(
                    f"Expected an ONNX file with static shapes. Received: {self.name}, whose input {value.name!r} has "
                    f"shape {value.shape}. `python -m onnxruntime.tools.make_dynamic_shape_fixed` fixes it."
                )
            dtype = _dtype(value.type)
            if dtype is None:
                raise InputError(f"Expected numeric inputs. Received: {self.name} with an input of type {value.type}.")
            inputs[value.name] = random_input(value.shape, dtype, rng, self.name)
        return inputs

    def _checked_run(self) -> float:
        try:
            return self.run()
        except Exception as error:  # Likewise.
            raise InputError(
                f"Expected an ONNX file that runs on random inputs. Received: {self.name} ({_one_line(error)})."
            ) from error


def summarize_execution(
    model: str | os.PathLike[str] | bytes, provider: str = "cpu", num_threads: int = 1
) -> Execution:
    """Returns what ONNX Runtime makes of an ONNX file: its operators after optimization, and who runs them.

    Args:
      model: Path or bytes of the ONNX file.
      provider: As for `ONNXRunner`.
      num_threads: Likewise.

    Raises:
      InputError: As for `ONNXRunner`.
    """
    return ONNXRunner(model, num_threads, provider).execution


def _read_profile(events: list[dict[str, Any]], provider: str) -> Execution:
    """Returns what the profile of one run tells."""
    ran = [event["args"] for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    return Execution(
        operators=_counts(args["op_name"] for args in ran),
        providers=_counts(args["provider"] for args in ran),
        fallback=_counts(args["op_name"] for args in ran if args["provider"] != provider),
    )


def _counts(names: Any) -> dict[str, int]:
    counts = collections.Counter(names)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _dtype(kind: str) -> np.dtype | None:
    """Returns the type of `tensor(float)` and the like, or None for one that NumPy does not have."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    try:
        return np.dtype(_DTYPES.get(name, name))
    except TypeError:
        return None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
