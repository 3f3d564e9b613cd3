"""Scoring that is spread over processes on this machine."""

from __future__ import annotations

import collections
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.devices.process_pool import ProcessPool
from keras_actnas.search.proxies.chunks import chunks, deadly, request_for, scored
from keras_actnas.search.proxies.parcel import pack
from keras_actnas.search.proxies.parcel_files import unpack
from keras_actnas.search.proxies.tasks import Task
from keras_actnas.tflite_bench.process import NetworkError


class ScoringProcesses:
    """Computes scores in processes, each with a proxy of its own: a `Compute`.

    The scores are those that this process would compute: the model and the images travel through files bit by bit, and
    every process computes with as many threads as this one would, because sums in another order round differently.

    Args:
      name: The proxy: one of `PROXIES`, or module:function.
      model: The model; it is saved as .keras, so layers of one's own have to be registered or importable.
      images: One batch of images each.
      activations: What the sites can be switched to.
      batch_norm: "inference" or "batch".
      count: How many processes.
      conditions: The conditions of the proxy on each batch here, which those in the processes have to agree with.
      time_limit: Seconds that a request may take, with the start of its process.
    """

    def __init__(
        self,
        name: str,
        model: keras.Model,
        images: Sequence[np.ndarray],
        activations: Sequence[str],
        batch_norm: str,
        *,
        count: int,
        conditions: Sequence[Mapping[str, Any]],
        time_limit: float = 3600.0,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        unpack(pack(name, model, images, activations, batch_norm, conditions), folder)
        self._pool: ProcessPool[list[Task]] = ProcessPool(
            "keras_actnas.search.proxies.worker", str(folder), count=count, time_limit=time_limit
        )

    @property
    def pids(self) -> list[int]:
        """Numbers of the processes that run."""
        return self._pool.pids

    def __call__(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, float]]:
        """Yields tasks with their scores as they come.

        The tasks of a process that died are done again, each by itself.

        Raises:
          InputError: A score cannot be computed, or a task ended its process twice, which is named.
        """
        again: collections.deque[Task] = collections.deque()
        for chunk, answer in self._pool.answers((chunk, request_for(chunk)) for chunk in chunks(tasks)):
            if isinstance(answer, NetworkError) and answer.crashed:
                again.extend(chunk)
            else:
                yield from _scored(chunk, answer)
        dead: list[tuple[Task, NetworkError]] = []
        for chunk, answer in self._pool.answers(([task], request_for([task])) for task in again):
            if isinstance(answer, NetworkError) and answer.crashed:
                dead.append((chunk[0], answer))  # The other scores first, so that none is lost.
            else:
                yield from _scored(chunk, answer)
        for task, error in dead:
            raise deadly(task, error)

    def close(self) -> None:
        """Ends the processes and removes their files."""
        self._pool.close()
        self._folder.cleanup()


def _scored(chunk: list[Task], answer: Any) -> Iterator[tuple[Task, float]]:
    if isinstance(answer, NetworkError):
        raise InputError(str(answer))
    yield from scored(chunk, answer)
