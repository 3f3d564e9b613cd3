"""Devices as a person names them: `host`, `vela:ethos-u65-512`, `ssh://pi@raspberrypi.local`, ..."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

from keras_actnas.core.errors import InputError, closest
from keras_actnas.devices.device import Device

FORMS = {
    "host": "this machine, with a TFLite runtime",
    "ssh://USER@HOST": "a board over SSH, such as a Raspberry Pi; its Python needs NumPy and a TFLite runtime",
    "journal:FILE.jsonl": "what a bundle measured on a board (keras-actnas bundle); several files with commas",
    "tables:FILE.csv": "tables that you have already, .csv or .json; several files with commas",
    "vela:ACCELERATOR": "an Arm Ethos-U, as the compiler Vela estimates it, such as vela:ethos-u65-512",
    "onnxruntime:PROVIDER": "this machine, with ONNX Runtime: cpu, cuda, tensorrt",
    "MODULE:NAME": "your own: a subclass of keras_actnas.devices.Device, or a function that returns a device",
}
"""What `--device` takes."""


def open_device(spec: str, num_threads: int = 1, delegate: str = "xnnpack", precision: str | None = None) -> Device:
    """Returns the device that a text names.

    Args:
      spec: One of `FORMS`.
      num_threads: Threads, for a device that runs networks.
      delegate: TFLite delegate, likewise.
      precision: Precision of the networks; None for the device's own.

    Raises:
      InputError: The text has another form, or the device cannot be used.
      MissingDependencyError: What the device needs is not installed.
    """
    kind, separator, rest = spec.partition(":")
    if spec == "host":
        from keras_actnas.devices.host import HostDevice

        return HostDevice(num_threads, delegate, precision=precision or "float32")
    if kind in _OPENERS and separator:
        return _OPENERS[kind](rest, num_threads, delegate, precision)
    if separator and kind.replace(".", "").replace("_", "").isalnum() and rest.isidentifier():
        return _own(kind, rest, spec)
    raise InputError(
        f"Expected --device to be one of {', '.join(FORMS)}. Received: {spec!r}.{closest(kind, ['host', *_OPENERS])}"
    )


def _ssh(rest: str, num_threads: int, delegate: str, precision: str | None) -> Device:
    from keras_actnas.devices.ssh import SSHDevice

    return SSHDevice.from_spec(rest, num_threads, delegate, precision or "float32")


def _journal(rest: str, num_threads: int, delegate: str, precision: str | None) -> Device:
    from keras_actnas.devices.recorded import RecordedDevice

    return RecordedDevice(rest.split(","), precision or "float32")


def _tables(rest: str, num_threads: int, delegate: str, precision: str | None) -> Device:
    from keras_actnas.devices.given_tables import GivenTables

    return GivenTables(rest.split(","))


def _vela(rest: str, num_threads: int, delegate: str, precision: str | None) -> Device:
    from keras_actnas.devices.vela import VelaDevice

    if precision not in (None, "int8"):
        raise InputError(f"Expected --precision=int8, which is what an Ethos-U runs. Received: {precision!r}.")
    return VelaDevice.from_spec(rest)


def _onnxruntime(rest: str, num_threads: int, delegate: str, precision: str | None) -> Device:
    from keras_actnas.devices.onnx_runtime import ONNXRuntimeDevice

    if precision not in (None, "float32"):
        raise InputError(f"Expected --precision=float32 with ONNX Runtime. Received: {precision!r}.")
    return ONNXRuntimeDevice(rest, num_threads)


_OPENERS: dict[str, Callable[[str, int, str, str | None], Device]] = {
    "ssh": _ssh,
    "journal": _journal,
    "tables": _tables,
    "vela": _vela,
    "onnxruntime": _onnxruntime,
}


def _own(module: str, name: str, spec: str) -> Device:
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        device = getattr(importlib.import_module(module), name)()
    except Exception as error:  # The module is the user's: it may raise anything.
        raise InputError(
            f"Expected --device=MODULE:NAME that can be imported and called without arguments. Received: {spec!r} "
            f"({type(error).__name__}: {error}).{closest(module, ['host', *_OPENERS])}"
        ) from error
    finally:
        sys.path.pop(0)
    if not isinstance(device, Device):
        raise InputError(f"Expected {spec} to be a keras_actnas.devices.Device. Received: {type(device).__name__}.")
    return device


def installed(module: str) -> bool:
    """Returns whether a module is installed, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # The package that it is in.
        return False


def list_devices() -> list[tuple[str, str]]:
    """Returns, for each form of device, whether it can be used here: "ready: ...", or what it needs."""
    return [
        ("host", _host_state()),
        ("ssh://USER@HOST", "ready: OpenSSH client" if shutil.which("ssh") else "needs the OpenSSH client `ssh`"),
        ("journal:FILE.jsonl", "ready"),
        ("tables:FILE.csv", "ready"),
        ("vela:ACCELERATOR", _vela_state()),
        ("onnxruntime:PROVIDER", _onnxruntime_state()),
        ("MODULE:NAME", "ready: a device of your own, see keras_actnas.devices.Device"),
    ]


def _host_state() -> str:
    from keras_actnas.tflite_bench import describe_device
    from keras_actnas.tflite_bench.runtime import installed_runtimes

    found = [f"{name} {version}" for name, version in installed_runtimes()]
    if not found:
        return 'needs a TFLite runtime: pip install "keras-actnas[bench]"'
    board: dict[str, Any] = dict(describe_device())
    return f"ready: {board['board'] or board['cpu']}, {board['cores']} cores; {', '.join(found)}"


def _vela_state() -> str:
    if not installed("ethosu.vela"):
        return 'needs Vela: pip install "keras-actnas[vela]"'
    from keras_actnas.devices.vela_system import accelerators

    return f"ready: {', '.join(accelerators())}"


def _onnxruntime_state() -> str:
    if not (installed("onnxruntime") and installed("onnx")):
        return 'needs ONNX Runtime: pip install "keras-actnas[onnx]"'
    from keras_actnas.devices.onnx_providers import available_providers

    return f"ready: {', '.join(available_providers())}"
