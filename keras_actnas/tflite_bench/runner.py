"""One .tflite in one interpreter, ready to be timed."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.tflite_bench.flatbuffer import check_whole
from keras_actnas.tflite_bench.runtime import DELEGATES, Runtime, load_runtime


class Runner(Protocol):
    """A network that is open and can be run, by whatever runtime: what `measure` needs of it.

    Attributes:
      runtime: The runtime, with its `name` and `version`.
      num_threads: Its threads.
      delegate: What runs the network: a delegate, or an execution provider.
      init_ms: How long it took to open, in ms; None if that is not known.
      first_ms: Time of the very first run; None likewise.
      execution: What the runtime tells of how it runs the network, as values that JSON can hold.
    """

    runtime: Any
    num_threads: int
    delegate: str
    init_ms: float | None
    first_ms: float | None

    @property
    def execution(self) -> Mapping[str, Any]:
        """See the attributes."""

    def run(self) -> float:
        """Runs the network once; returns the time in ms."""

    def warm_up(self, runs: int) -> tuple[float, ...]:
        """Runs the network `runs` times, at least once; returns the times in ms.

        Raises:
          InputError: The network cannot be run, or an output is not finite.
        """


class TFLiteRunner:
    """One .tflite in one interpreter, fed with fixed random inputs.

    Args:
      model: Path or bytes of the .tflite.
      num_threads: Threads of the interpreter.
      delegate: "xnnpack" (on by default in every runtime) or "none" for the built-in kernels.
      runtime: A runtime of `load_runtime`; the first one installed when None.
      seed: Seed of the random input.

    Attributes:
      init_ms: How long it took to open the interpreter, with its delegate, and to allocate its tensors.
      first_ms: Time of the very first run, which may do what later ones need not do again; None before.

    Raises:
      InputError: Not a .tflite, truncated, dynamic shapes, or an operator that the runtime lacks.
    """

    init_ms: float | None = None
    first_ms: float | None = None
    _interpreter: Any = None

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
        data = _read(model)
        start = time.perf_counter_ns()
        self._interpreter = self._open(data)
        self.init_ms = (time.perf_counter_ns() - start) / 1e6
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
            value = random_input(detail["shape"], np.dtype(detail["dtype"]), rng, self.name)
            self._interpreter.set_tensor(detail["index"], value)

    def run(self) -> float:
        """Runs the network once; returns the time of the invocation in milliseconds."""
        start = time.perf_counter_ns()
        self._interpreter.invoke()
        elapsed = (time.perf_counter_ns() - start) / 1e6
        if self.first_ms is None:
            self.first_ms = elapsed
        return elapsed

    @property
    def partitions(self) -> int | None:
        """Into how many parts the delegate has taken the graph, 0 for none of it; None if the runtime does not tell."""
        try:
            names = [operator["op_name"] for operator in self._interpreter._get_ops_details()]
        except (AttributeError, KeyError, TypeError, ValueError):  # It is no public interface.
            return None
        return sum(name.startswith("DELEGATE") for name in names)

    @property
    def execution(self) -> dict[str, Any]:
        """How the runtime runs the network: "partitions", if it tells."""
        return {} if self.partitions is None else {"partitions": self.partitions}

    def warm_up(self, runs: int) -> tuple[float, ...]:
        """Runs the network `runs` times, at least once, and makes sure that its outputs are finite.

        Returns:
          The times of the runs in milliseconds.

        Raises:
          InputError: The network cannot be run, or an output holds NaN or infinity: what is timed would not be what
            the network is for.
        """
        try:
            times = tuple(self.run() for _ in range(max(runs, 1)))
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"Expected a .tflite that runs on random inputs. Received: {self.name} ({_one_line(error)})."
            ) from error
        check_finite(self.outputs(), self.name)
        return times

    def outputs(self) -> list[np.ndarray]:
        """Returns copies of the outputs of the last run."""
        return [self._interpreter.get_tensor(detail["index"]) for detail in self._interpreter.get_output_details()]

    @property
    def input_shapes(self) -> list[tuple[int, ...]]:
        """The shape of every input, batch first."""
        return [tuple(map(int, detail["shape"])) for detail in self._interpreter.get_input_details()]

    @property
    def output_shapes(self) -> list[tuple[int, ...]]:
        """The shape of every output, batch first."""
        return [tuple(map(int, detail["shape"])) for detail in self._interpreter.get_output_details()]

    def predict(self, *values: np.ndarray) -> list[np.ndarray]:
        """Runs the network on real inputs, one array each; returns its outputs as real numbers.

        Quantized inputs and outputs are converted by their tensor's scale and zero point: real = scale (q - zero).
        """
        for detail, value in zip(self._interpreter.get_input_details(), values, strict=True):
            self._interpreter.set_tensor(detail["index"], _quantized(value, detail))
        self._interpreter.invoke()
        details = self._interpreter.get_output_details()
        return [_real(value, detail) for value, detail in zip(self.outputs(), details, strict=True)]


def random_input(shape: Sequence[int], dtype: np.dtype, rng: np.random.Generator, name: str) -> np.ndarray:
    """Returns a random input for a network called `name`; raises `InputError` for a type that is not numeric."""
    if dtype.kind == "f":
        return rng.random(shape, np.float32).astype(dtype, copy=False)
    if dtype.kind not in "iu":
        raise InputError(f"Expected numeric inputs. Received: {name} with an input of type {dtype}.")
    limits = np.iinfo(dtype)
    return rng.integers(max(limits.min, -128), min(limits.max, 255), shape, endpoint=True).astype(dtype)


def _quantized(value: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """Returns real numbers as the input of that detail takes them."""
    dtype, (scale, zero) = np.dtype(detail["dtype"]), detail["quantization"]
    if dtype.kind == "f" or not scale:
        return value.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.round(value / np.float32(scale)) + zero, limits.min, limits.max).astype(dtype)


def _real(value: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """Returns the real numbers that the output of that detail stands for."""
    scale, zero = detail["quantization"]
    return value if value.dtype.kind == "f" or not scale else (value.astype(np.float32) - zero) * np.float32(scale)


def check_finite(outputs: Iterable[np.ndarray], name: str) -> None:
    """Raises `InputError` when a network's outputs are not finite: what is timed would not be what it is for."""
    for output in outputs:
        if output.dtype.kind == "f" and not np.isfinite(output).all():
            raise InputError(
                f"Expected finite outputs. Received: {int((~np.isfinite(output)).sum())} of {output.size} values "
                f"NaN or infinite from {name}. Check the weights of the model (did its training diverge?)."
            )


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
