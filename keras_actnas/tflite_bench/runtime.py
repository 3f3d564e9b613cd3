"""Which TFLite runtime is here: ai_edge_litert, tflite_runtime or tf.lite, in this order."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_actnas.core.errors import InputError, MissingDependencyError, closest

# Name -> (module with Interpreter and OpResolverType, distribution that carries the version, extra that installs it).
_RUNTIMES = {
    "ai_edge_litert": ("ai_edge_litert.interpreter", "ai-edge-litert", "bench"),
    "tflite_runtime": ("tflite_runtime.interpreter", "tflite-runtime", "bench"),
    "tf.lite": ("tensorflow.lite.python.interpreter", "tensorflow", "tensorflow"),
}
RUNTIMES = tuple(_RUNTIMES)
DELEGATES = ("xnnpack", "none")
# A board may have nothing else of this package; and 32-bit Arm has a wheel of the old runtime only.
_BY_ITSELF = ', or by itself: pip install ai-edge-litert (on 32-bit Arm: pip install tflite-runtime "numpy<2")'

# Wheels of tflite_runtime up to this version are built for NumPy 1. They can be imported with NumPy 2, but opening a
# network then ends in a SystemError.
_LAST_FOR_NUMPY_1 = (2, 14)


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
      InputError: The name is unknown, or the only runtime here needs an older NumPy.
      MissingDependencyError: The runtime, or all of them, is not installed; says how to install one.
    """
    if name is not None and name not in _RUNTIMES:
        raise InputError(f"Unknown TFLite runtime {name!r}.{closest(name, RUNTIMES)}")
    refused = ""
    for candidate in [name] if name else RUNTIMES:
        module_name, distribution, _ = _RUNTIMES[candidate]
        module = _import(module_name)
        if module is None:
            continue
        version = _version(module_name, distribution)
        if candidate == "tflite_runtime" and _needs_numpy_1(version):
            refused = version
            continue
        resolver = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        return Runtime(candidate, version, module.Interpreter, resolver)
    if refused:
        raise InputError(
            f"Expected NumPy 1 for tflite_runtime {refused}. Received: NumPy {np.__version__}. "
            'Install it with: pip install "numpy<2"'
        )
    _, distribution, extra = _RUNTIMES[name or RUNTIMES[0]]
    raise MissingDependencyError(distribution, extra, "Measuring on this device", _BY_ITSELF)


def installed_runtimes() -> list[tuple[str, str]]:
    """Returns name and version of every runtime that is installed, without importing it."""
    found = []
    for name, (module, distribution, _) in _RUNTIMES.items():
        package = module.partition(".")[0]
        if importlib.util.find_spec(package) is not None:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found.append((name, importlib.metadata.version(distribution)))
    return found


def _version(module: str, distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # Installed under another name, such as tensorflow-cpu.
        return str(getattr(importlib.import_module(module.partition(".")[0]), "__version__", "unknown"))


def _needs_numpy_1(version: str) -> bool:
    """Returns whether this version of tflite_runtime cannot work with the NumPy that is here."""
    numbers = version.split(".")[:2]
    is_old = all(number.isdigit() for number in numbers) and tuple(map(int, numbers)) <= _LAST_FOR_NUMPY_1
    return is_old and not np.__version__.startswith("1.")


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        return None
