"""Tasks that travel together, and the answer to them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keras_actnas.core.errors import InputError
from keras_actnas.search.proxies.tasks import Task, described

CHUNK = 8
"""Tasks in a request: neighbours begin alike, and a process goes on from what it computed of the one before."""


def chunks(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    """Yields tasks in lists of `CHUNK`; no more are taken than are asked for."""
    source = iter(tasks)
    while chunk := list(itertools.islice(source, CHUNK)):
        yield chunk


def request_for(chunk: list[Task]) -> dict[str, Any]:
    """Returns what `worker.scorer` is asked, as values that JSON can hold."""
    return {"tasks": [[dict(task.assignment), task.seed, task.batch] for task in chunk]}


def scored(chunk: list[Task], answer: Mapping[str, Any]) -> Iterator[tuple[Task, float]]:
    """Yields the tasks that were scored; raises `InputError` when others could not be."""
    yield from zip(chunk, answer["scores"], strict="failure" not in answer)
    if "failure" in answer:
        raise InputError(answer["failure"])


def deadly(task: Task, error: object) -> InputError:
    """Returns the error that names a task which ended every process that computed it."""
    return InputError(f"Expected a network that can be scored. Received: {described(task, {})}; {error}.")
