"""Processes that work through requests in parallel, of which each may crash or hang without harm to the others."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Generic, NamedTuple, TypeVar

from keras_actnas.tflite_bench.process import LineProcess, NetworkError

Key = TypeVar("Key")

_LONGEST_WAIT = 1.0
"""Seconds after which a wait looks up, for an interrupt where the system does not end a wait with one."""


def usable_cores() -> int:
    """Returns how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Not on macOS and Windows.
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class _Work(NamedTuple):
    process: LineProcess
    key: Any
    deadline: float


class ProcessPool(Generic[Key]):
    """Processes that each answer one request at a time.

    Args:
      module: The module that each process runs, by `keras_actnas.tflite_bench.worker.serve`.
      arguments: Its arguments.
      count: How many processes; they start when they are needed.
      time_limit: Seconds that a request may take, with the start of its process.
    """

    def __init__(self, module: str, *arguments: str, count: int, time_limit: float) -> None:
        self._processes = [LineProcess(module, *arguments) for _ in range(count)]
        self._time_limit = time_limit

    @property
    def pids(self) -> list[int]:
        """Numbers of the processes that run."""
        return [pid for process in self._processes if (pid := process.pid) is not None]

    def answers(self, requests: Iterable[tuple[Key, Mapping[str, Any]]]) -> Iterator[tuple[Key, Any | NetworkError]]:
        """Answers requests; those that are not answered when the iteration is left are given up at once.

        Args:
          requests: Key and request of each. One is taken ahead, while the processes work on those before.

        Yields:
          Each key with its answer as it comes, or with why there is none: an error, a crash, or the time limit. A
          process that ended is replaced.
        """
        source = iter(requests)
        work: dict[Future[Any], _Work] = {}
        with ThreadPoolExecutor(len(self._processes)) as threads:
            try:
                ahead = next(source, None)
                finished: list[tuple[Key, Any | NetworkError]] = []
                while work or finished or ahead is not None:
                    busy = {item.process for item in work.values()}
                    for process in self._processes:
                        if ahead is not None and process not in busy:
                            process.start()  # Not in the thread: whoever interrupts has to see it.
                            deadline = time.monotonic() + self._time_limit
                            work[threads.submit(process.ask, ahead[1])] = _Work(process, ahead[0], deadline)
                            ahead = next(source, None)
                    yield from finished
                    finished = self._finished(work)
            except BaseException:
                for process in self._processes:
                    process.kill()
                threads.shutdown()  # Each thread ends when its process does.
                self.close()
                raise

    def _finished(self, work: dict[Future[Any], _Work]) -> list[tuple[Any, Any | NetworkError]]:
        """Waits until something is finished or overdue; takes it from the work and returns it."""
        first = min((item.deadline for item in work.values()), default=0.0)
        done, _ = wait(work, min(max(first - time.monotonic(), 0.0), _LONGEST_WAIT), FIRST_COMPLETED)
        finished = []
        for future in list(work):
            overdue = future not in done and time.monotonic() > work[future].deadline
            if overdue:
                work[future].process.kill()
            if overdue or future in done:
                answer = _answer(future)
                if overdue and isinstance(answer, NetworkError):
                    answer = NetworkError(f"it took longer than {self._time_limit:g} s", crashed=True)
                finished.append((work.pop(future).key, answer))
        return finished

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.close()


def _answer(future: Future[Any]) -> Any | NetworkError:
    try:
        return future.result()
    except NetworkError as error:
        return error
