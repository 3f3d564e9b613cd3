"""Makes a bundle: one file that measures a network's candidates on a device without Keras and TensorFlow."""

from __future__ import annotations

import ast
import importlib.util
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import keras_actnas
from keras_actnas.core.errors import MissingDependencyError
from keras_actnas.core.files import write_atomically
from keras_actnas.devices.bundle_files import NETWORK, PLAN
from keras_actnas.devices.plan import Plan
from keras_actnas.export.schema import BUNDLED_SCHEMA, schema

_PACKAGE = "keras_actnas"
_ENTRY_POINTS = (f"{_PACKAGE}.devices.on_device", f"{_PACKAGE}.tflite_bench.worker")
# Any Python can read this, also one that is too old for the rest.
_MAIN = b"""\
import signal
import sys

if sys.version_info < (3, 10):
    sys.exit("Expected Python 3.10 or later. Received: %s (%s)." % (sys.version.split()[0], sys.executable))
try:
    import numpy
except ImportError:
    sys.exit("Expected NumPy. Received: a Python without it (%s). Install it: pip install numpy" % sys.executable)
from keras_actnas.devices.on_device import main

if __name__ == "__main__":
    # Whoever stops this, or shuts the board down, interrupts it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
"""


def write_bundle(path: str | os.PathLike[str], network: bytes | None = None, plan: Plan | None = None) -> int:
    """Writes a bundle; returns its size in bytes.

    Args:
      path: The file, such as bench.pyz.
      network: The .tflite that candidates are made from; without it, the bundle is told at each start where one is.
      plan: What is measured; likewise.

    Raises:
      InputError: The file cannot be written.
      MissingDependencyError: What edits a .tflite is not installed here, so it cannot be packed.
    """
    content = io.BytesIO(b"#!/usr/bin/env python3\n")
    content.seek(0, io.SEEK_END)
    with zipfile.ZipFile(content, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        file.writestr("__main__.py", _MAIN)
        for name, source in _code():
            file.writestr(name, source)
        if network is not None:
            file.writestr(NETWORK, network)
        if plan is not None:
            file.writestr(PLAN, plan.dumps())
    write_atomically(path, content.getvalue())
    os.chmod(path, 0o755)  # noqa: PTH101
    return len(content.getvalue())


def _code() -> Iterator[tuple[str, bytes]]:
    """Yields name and content of the Python files that the device needs."""
    root = Path(keras_actnas.__file__).parent
    for module in sorted(_needed_modules()):
        path = _source(module)
        yield path.relative_to(root.parent).as_posix(), path.read_bytes()
    # Reading and writing a .tflite: a device whose runtime is tflite_runtime has neither of these.
    flatbuffers = importlib.util.find_spec("flatbuffers")
    if flatbuffers is None or flatbuffers.origin is None:
        raise MissingDependencyError("flatbuffers", "search", "Making a bundle")
    for path in sorted(Path(flatbuffers.origin).parent.rglob("*.py")):
        yield path.relative_to(Path(flatbuffers.origin).parents[1]).as_posix(), path.read_bytes()
    yield f"{BUNDLED_SCHEMA.replace('.', '/')}.py", Path(str(schema().__file__)).read_bytes()


def _needed_modules() -> set[str]:
    """Returns the modules of this package that the entry points import, when they are imported."""
    needed: set[str] = set()
    left = list(_ENTRY_POINTS)
    while left:
        module = left.pop()
        if module in needed:
            continue
        needed.add(module)
        left.append(module.rpartition(".")[0] or module)
        left += _imports(module)
    return needed


def _imports(module: str) -> Iterator[str]:
    for node in ast.parse(_source(module).read_bytes()).body:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == _PACKAGE and _exists(name))


def _source(module: str) -> Path:
    path = Path(keras_actnas.__file__).parents[1].joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _exists(module: str) -> bool:
    return _source(module).is_file()
