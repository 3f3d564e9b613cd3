"""Which TFLite runtime is here: ai_edge_litert, tflite_runtime or tf.lite, in this order."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
from collections.abc import Callable
from typing import Any

from keras_actnas.core.errors import InputError, MissingDependencyError, closest

# Name -> (module with Interpreter and OpResolverType, distribution that carries the version, extra that installs it).
_RUNTIMES = {
    "ai_edge_litert": ("ai_edge_litert.interpreter", "ai-edge-litert", "bench"),
    "tflite_runtime": ("tflite_runtime.interpreter", "tflite-runtime", "bench"),
    "tf.lite": ("tensorflow.lite.python.interpreter", "tensorflow", "tensorflow"),
}
RUNTIMES = tuple(_RUNTIMES)
DELEGATES = ("xnnpack", "none")


@dataclasses.dataclass(frozen=True)
class Runtime:
    """A TFLite runtime that is installed here.

    Attributes:
      name: "ai_edge_litert", "tflite_runtime" or "tf.lite".
      version: Version of the distribution that brought it.
      interpreter: The `Interpreter` class.
      plain_resolver: Value of `experimental_op_resolver_type` that keeps XNNPACK out.
    """

    name: str
    version: str
    interpreter: Callable[..., Any]
    plain_resolver: Any


def load_runtime(name: str | None = None) -> Runtime:
    """Returns the runtime called `name`, or the first one installed.

    Raises:
      InputError: The name is unknown.
      MissingDependencyError: The runtime, or all of them, is not installed; says how to install one.
    """
    if name is not None and name not in _RUNTIMES:
        raise InputError(f"Unknown TFLite runtime {name!r}.{closest(name, RUNTIMES)}")
    for candidate in [name] if name else RUNTIMES:
        module_name, distribution, _ = _RUNTIMES[candidate]
        module = _import(module_name)
        if module is not None:
            resolver = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            return Runtime(candidate, _version(module_name, distribution), module.Interpreter, resolver)
    _, distribution, extra = _RUNTIMES[name or RUNTIMES[0]]
    raise MissingDependencyError(distribution, extra, "Measuring on this device")


def _version(module: str, distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # Installed under another name, such as tensorflow-cpu.
        return str(getattr(importlib.import_module(module.partition(".")[0]), "__version__", "unknown"))


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        return None
