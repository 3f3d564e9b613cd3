"""This machine, or its GPU, with ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from keras_actnas.core.errors import InputError
from keras_actnas.devices.device import Network
from keras_actnas.devices.host import WARMUP, ProcessDevice
from keras_actnas.devices.onnx_providers import find_provider, import_runtime, short_name
from keras_actnas.tflite_bench.process import WorkerProcess


class ONNXRuntimeDevice(ProcessDevice):
    """This machine with ONNX Runtime, which runs networks by an execution provider.

    A provider leaves operators that it lacks to the CPU: a reading names them in its conditions, "fallback".

    Args:
      provider: "cpu", "cuda", "tensorrt", ..., or a provider's full name.
      num_threads: Threads, of what runs on the CPU.

    Raises:
      InputError: The provider is unknown or not installed, or an argument is out of its range.
      MissingDependencyError: ONNX Runtime is not installed.
    """

    suffix = ".onnx"

    def __init__(self, provider: str = "cpu", num_threads: int = 1) -> None:
        if num_threads < 1:
            raise InputError(f"Expected num_threads of at least 1. Received: {num_threads}.")
        self._provider = short_name(find_provider(provider))
        self._num_threads = num_threads
        self.name = f"onnxruntime:{self._provider}"
        options = {"num_threads": num_threads, "provider": self._provider}
        super().__init__(WorkerProcess("keras_actnas.devices.onnx_runner:ONNXRunner", options, WARMUP))

    @property
    def conditions(self) -> Mapping[str, Any]:
        """Provider, threads, and the version of ONNX Runtime."""
        return {
            "num_threads": self._num_threads,
            "delegate": self._provider,
            "runtime": "onnxruntime",
            "runtime_version": import_runtime().__version__,
        }

    def convert(self, model: Any, path: str | os.PathLike[str], images: Iterable[Any] | None = None) -> Any:
        """Converts a Keras model to ONNX, once; returns a report to print."""
        from keras_actnas.export import to_editable_onnx

        return to_editable_onnx(model, path)

    def open_network(self, path: str | os.PathLike[str]) -> Network:
        """Returns the network that `convert` wrote."""
        from keras_actnas.export import ONNXNetwork

        return ONNXNetwork(path)
