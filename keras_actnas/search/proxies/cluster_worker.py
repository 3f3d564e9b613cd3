"""What a Dask worker runs for `ScoringCluster`; the functions travel by name, so it has to have this package."""

from __future__ import annotations

import importlib.metadata
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_actnas import __version__
from keras_actnas.core.errors import InputError
from keras_actnas.devices.process_pool import ProcessPool
from keras_actnas.search.proxies.parcel_files import unpack
from keras_actnas.tflite_bench.process import NetworkError

MODULE = "keras_actnas.search.proxies.worker"
TIME_LIMIT = 3600.0
"""Seconds that a request may take, with the start of its process."""

_LOCK = threading.Lock()
"""A worker may run several threads, but computes one score at a time."""
_POOLS: dict[str, tuple[ProcessPool[None], tempfile.TemporaryDirectory[str]]] = {}
"""Digest of the parcel that was used last -> the process that answers requests about it, and its folder."""


def versions(backend: str) -> dict[str, str]:
    """Returns the versions that scores depend on, without an import of Keras, which is slow."""
    return {"keras_actnas": __version__, **{package: _version(package) for package in ("keras", backend)}}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def answer_on_worker(
    parcel: Mapping[str, bytes], digest: str, backend: str, expected: dict[str, str], request: dict[str, Any]
) -> dict[str, Any]:
    """Returns the answer to a request, of a process that makes the proxy once for each parcel.

    Where that process ends, the answer is {"crashed": why}; the worker goes on.

    Args:
      parcel: What the proxy is made of.
      digest: Hash of the parcel.
      backend: Backend of Keras.
      expected: The versions that the worker has to have.
      request: What `scorer` is asked.

    Raises:
      InputError: Another version, or a proxy that cannot be made here; names the worker.
    """
    from distributed import get_worker

    worker = get_worker().address
    check_versions(expected, versions(backend), worker)
    with _LOCK:
        [(_, answer)] = _pool(parcel, digest).answers([(None, request)])
    if not isinstance(answer, NetworkError):
        return answer
    if answer.crashed:
        return {"crashed": str(answer)}
    raise InputError(f"Worker {worker}: {answer}")


def _pool(parcel: Mapping[str, bytes], digest: str) -> ProcessPool[None]:
    """Returns one process of its own: Dask's threads draw from Python's `random`, which Keras's initial weights do."""
    if digest not in _POOLS:
        for pool, old in _POOLS.values():
            pool.close()
            old.cleanup()
        _POOLS.clear()
        folder = tempfile.TemporaryDirectory()
        unpack(parcel, Path(folder.name))
        _POOLS[digest] = ProcessPool(MODULE, folder.name, count=1, time_limit=TIME_LIMIT), folder
    return _POOLS[digest][0]


def check_versions(expected: Mapping[str, str], found: Mapping[str, str], worker: str) -> None:
    """Raises `InputError` when a worker has a package in another version than expected."""
    for package, version in expected.items():
        if found[package] != version:
            raise InputError(
                f"Expected {package} {version} on every worker, as where the search runs. Received: {found[package]} "
                f"on worker {worker}; install the same there."
            )
