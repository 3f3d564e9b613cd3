"""Steps that depend on nothing but their arguments, and that are done in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

Steps = dict[str, tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]]
"""Key in the results -> what is to be done for it."""


def run_steps(steps: Steps, processes: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields what comes of every step as soon as it is done, some at the same time."""
    if processes == 1 or len(steps) <= 1:
        for key, (function, arguments) in steps.items():
            yield key, function(*arguments)
        return
    # Spawned, since what TensorFlow and torch have started does not survive a fork.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        futures: dict[Future[dict[str, Any]], str] = {
            pool.submit(function, *arguments): key for key, (function, arguments) in steps.items()
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
