"""Scoring that is spread over machines, through Dask."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import pydoc
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_actnas import __version__
from keras_actnas.core.errors import InputError, MissingDependencyError
from keras_actnas.search.proxies.chunks import chunks, deadly, request_for, scored
from keras_actnas.search.proxies.cluster_worker import answer_on_worker, check_versions, versions
from keras_actnas.search.proxies.parcel import pack
from keras_actnas.search.proxies.parcel_files import digest_of
from keras_actnas.search.proxies.tasks import Task

AHEAD = 2
"""Chunks that are sent to each thread, so that none waits for the next."""
RETRIES = 2
"""How often a task is done again whose worker ended."""
_NOTHING_YET = (asyncio.TimeoutError, asyncio.CancelledError, concurrent.futures.CancelledError)


class ScoringCluster:
    """Computes scores on the workers of a Dask cluster: a `Compute`.

    The scores are those that this process would compute, bit for bit on workers of the same kind. Another processor, or
    another number of cores, adds up in another order: scores then agree within rounding.

    Args:
      address: Of the Dask scheduler: "tcp://host:8786".
      name: The proxy: one of `PROXIES`, or module:function that every worker can import.
      model: The model; it travels as .keras, so layers of one's own have to be registered or importable.
      images: One batch of images each, shape (batch, height, width, channels).
      activations: What the sites can be switched to.
      batch_norm: "inference" or "batch".
      conditions: The conditions of the proxy on each batch here, which those on the workers have to agree with.
      connect_limit: Seconds within which the scheduler has to answer.
      worker_limit: Seconds without any worker after which scoring gives up.

    Raises:
      MissingDependencyError: Dask is not installed.
      InputError: No scheduler there, no worker, or a worker with another version of this package.
    """

    def __init__(
        self,
        address: str,
        name: str,
        model: keras.Model,
        images: Sequence[np.ndarray],
        activations: Sequence[str],
        batch_norm: str,
        *,
        conditions: Sequence[Mapping[str, Any]],
        connect_limit: float = 5.0,
        worker_limit: float = 60.0,
    ) -> None:
        self._address, self._worker_limit = address, worker_limit
        self._content = pack(name, model, images, activations, batch_norm, conditions)
        backend = keras.backend.backend()
        self._arguments = (digest_of(self._content), backend, versions(backend))
        self._parcel: Any = None
        self._client = _connected(address, connect_limit)
        try:
            self._wait_for_workers()
            self._check_workers()
        except BaseException:
            self.close()
            raise

    def __call__(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, float]]:
        """Yields tasks with their scores as they come.

        The tasks of a worker that died are done again, each by itself. What is outstanding when the iteration is left
        is cancelled.

        Raises:
          InputError: A score cannot be computed, no worker is left, or a task ended its worker again and again.
        """
        lost = yield from self._scores(chunks(tasks), AHEAD)
        for _ in range(RETRIES):  # One at a time: no other can be what ends the worker.
            lost = yield from self._scores(([task] for task in lost), None)
        for task in lost:  # The other scores first, so that none is lost.
            raise deadly(task, "every process that computed it ended")

    def close(self) -> None:
        """Leaves the cluster, which goes on."""
        self._client.close()

    def _scores(
        self, source: Iterator[list[Task]], ahead: int | None
    ) -> Generator[tuple[Task, float], None, list[Task]]:
        """Yields the scores of chunks; returns the tasks whose workers ended."""
        lost: list[Task] = []
        for chunk, answer in self._answers(source, ahead):
            if answer is None:
                lost.extend(chunk)
            else:
                yield from scored(chunk, answer)
        return lost

    def _answers(self, source: Iterator[list[Task]], ahead: int | None) -> Iterator[tuple[list[Task], Any]]:
        """Yields chunks with their answers as they come, None for those whose workers ended.

        Args:
          source: Chunks; taken when there is room for them.
          ahead: Chunks in flight for each thread of the workers; None for one in all.
        """
        from distributed import wait

        work: dict[Any, list[Task]] = {}
        try:
            while True:
                threads = self._wait_for_workers()
                room = threads * ahead if ahead else 1
                while len(work) < room and (chunk := next(source, None)) is not None:
                    work[self._submit(chunk)] = chunk
                if not work:
                    return
                # Looks up now and then, whether there are workers; a chunk that was lost counts as cancelled.
                with contextlib.suppress(*_NOTHING_YET), self._client.as_current():
                    wait(list(work), timeout=1.0, return_when="FIRST_COMPLETED")
                done = [future for future in work if future.done()]
                for future in sorted(done, key=lambda future: bool(future.status == "error")):  # Scores first.
                    yield work.pop(future), _answer(future)
        finally:
            self._client.cancel(list(work), force=True)

    def _submit(self, chunk: list[Task]) -> Any:
        if self._parcel is None or self._parcel.status != "finished":  # Gone with all the workers that had it.
            self._parcel = self._client.scatter([self._content], broadcast=True)[0]
        return self._client.submit(answer_on_worker, self._parcel, *self._arguments, request_for(chunk), pure=False)

    def _wait_for_workers(self) -> int:
        """Returns how many threads the workers have; raises `InputError` when no worker comes in time."""
        deadline = time.monotonic() + self._worker_limit
        while not (threads := self._threads()):
            if time.monotonic() > deadline:
                raise InputError(
                    f"Expected a worker at --scheduler={self._address} within {self._worker_limit:g} s. Received: "
                    f"none; start one with: dask worker {self._address} --nthreads 1"
                )
            time.sleep(0.2)
        return threads

    def _threads(self) -> int:
        try:
            return sum(self._client.nthreads().values())
        except Exception as error:  # Of several types, depending on how the connection broke.
            raise InputError(
                f"Expected a Dask scheduler that stays until the scores are made. Received: {self._address}, which "
                f"is gone ({type(error).__name__}: {error}); run again to go on."
            ) from error

    def _check_workers(self) -> None:
        """Raises `InputError` for a worker without this package, or with another version of it.

        Asked by a function of the standard library, which any worker has. The rest is checked where scores are made.
        """
        answers = self._client.run(pydoc.locate, "keras_actnas.__version__", on_error="return")
        for worker, found in answers.items():
            check_versions({"keras_actnas": __version__}, {"keras_actnas": str(found or "none")}, worker)


def _connected(address: str, limit: float) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingDependencyError("distributed", "dask", "Scoring over machines (--scheduler)") from error
    try:
        return Client(address, timeout=limit, set_as_default=False)
    except (OSError, ValueError, asyncio.TimeoutError) as error:
        raise InputError(
            f"Expected --scheduler to be the address of a Dask scheduler, such as tcp://host:8786. Received: "
            f"{address}, where none answered within {limit:g} s."
        ) from error


def _answer(future: Any) -> Any:
    """Returns what a worker answered, or None when the workers that were to ended."""
    from distributed import KilledWorker

    if future.status == "cancelled":  # With the last worker went the parcel that it depends on.
        return None
    error = future.exception()
    if isinstance(error, KilledWorker):
        return None
    if isinstance(error, InputError):
        raise error
    if error is not None:
        raise InputError(f"Expected a worker that can score. Received: {type(error).__name__}: {error}.") from error
    answer = future.result()
    return None if "crashed" in answer else answer
