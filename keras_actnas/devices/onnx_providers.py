"""Execution providers of ONNX Runtime: what runs a network, by short names."""

from __future__ import annotations

from typing import Any

from keras_actnas.core.errors import InputError, MissingDependencyError, closest

_SUFFIX = "ExecutionProvider"
_NEEDS_GPU = "pip install onnxruntime-gpu, in place of onnxruntime"
_INSTALL = {
    "cuda": f"{_NEEDS_GPU}, with CUDA and cuDNN",
    "tensorrt": f"{_NEEDS_GPU}, with CUDA, cuDNN and TensorRT",
    "openvino": "pip install onnxruntime-openvino, in place of onnxruntime",
    "dml": "pip install onnxruntime-directml, in place of onnxruntime",
    "qnn": "pip install onnxruntime-qnn, in place of onnxruntime",
}


def find_provider(name: str) -> str:
    """Returns ONNX Runtime's name of a provider that is installed here.

    Args:
      name: "cpu", "cuda", "tensorrt", ..., or the full name, in any case.

    Raises:
      InputError: ONNX Runtime knows none of this name, or was built without it; says what to install.
    """
    onnxruntime = import_runtime()
    known = {short_name(provider): provider for provider in onnxruntime.get_all_providers()}
    available = available_providers()
    short = name.lower().removesuffix(_SUFFIX.lower())
    if short not in known:
        raise InputError(f"Expected an execution provider of ONNX Runtime. Received: {name!r}.{closest(short, known)}")
    if short not in available:
        raise InputError(
            f"Expected an execution provider that is installed here: {', '.join(available)}. "
            f"Received: {name!r}. Install it: {install_hint(short)}."
        )
    return known[short]


def available_providers() -> list[str]:
    """Returns the short names of the providers that are installed here."""
    return sorted(map(short_name, import_runtime().get_available_providers()))


def import_runtime() -> Any:
    """Returns the module `onnxruntime`.

    Raises:
      MissingDependencyError: It is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError("onnxruntime", "onnx", "Measuring with ONNX Runtime") from error
    return onnxruntime


def short_name(provider: str) -> str:
    """Returns "cpu" for "CPUExecutionProvider", and so on."""
    return provider.removesuffix(_SUFFIX).lower()


def install_hint(provider: str) -> str:
    """Returns what to install for a provider, given by its short name."""
    return _INSTALL.get(provider, "a build of ONNX Runtime with it")
