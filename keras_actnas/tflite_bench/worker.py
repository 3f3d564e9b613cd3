"""The process that runs networks: what crashes the runtime ends this process, and not the one that keeps the journal.

`python -m keras_actnas.tflite_bench.worker FACTORY OPTIONS` reads a request a line from its standard input and answers
each with a line; both are JSON. FACTORY, as module:function, opens a network: function(path, **OPTIONS).
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import os
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

from keras_actnas.core.errors import InputError
from keras_actnas.tflite_bench.measure import TFLiteRunner, measure
from keras_actnas.tflite_bench.runtime import load_runtime


def open_tflite(path: str, num_threads: int = 1, delegate: str = "xnnpack", runtime: str | None = None) -> TFLiteRunner:
    """Opens a .tflite with a runtime that is named."""
    return TFLiteRunner(path, num_threads, delegate, load_runtime(runtime))


def serve(make_answerer: Callable[[], Callable[[dict[str, Any]], Mapping[str, Any]]]) -> None:
    """Answers requests, a line of JSON each on the standard input, until the input ends.

    Args:
      make_answerer: Returns what answers a request; an `InputError` that it raises is the answer {"error": ...}.
    """
    # Runtimes print to the standard output, which is for answers alone.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answerer = make_answerer()
    for line in sys.stdin:
        try:
            answer = answerer(json.loads(line))
        except InputError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), file=answers, flush=True)


class _Worker:
    def __init__(self, factory: str, options: dict[str, Any]) -> None:
        module, _, name = factory.partition(":")
        self._open = functools.partial(getattr(importlib.import_module(module), name), **options)
        self._reference = ""
        self._coin = random.Random(0)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if "reference" in request:
            self._reference = request["reference"]
            self._open(self._reference).warm_up(request["warmup"])
            return {}
        # Both are opened anew: where a network comes to lie in memory makes a difference for as long as it is open. So
        # does which of them is first: where they are opened once, that is drawn, and a fit to many networks averages it
        # out. (By turns would not do: a design may take turns as well.)
        reopen = request["reopen"]
        made = measure(
            functools.partial(self._open, request["candidate"]),
            functools.partial(self._open, self._reference),
            runs=request["runs"],
            warmup=request["warmup"],
            sessions=None if reopen else 1,
            candidate_first=not reopen and self._coin.random() < 0.5,
        )
        openings = [dataclasses.asdict(one) for one in (made.openings[0], made.reference_openings[0])]
        conditions = {**made.conditions, "opening": openings[0], "reference_opening": openings[1]}
        return {"samples": made.samples, "reference_samples": made.reference_samples, "conditions": conditions}


if __name__ == "__main__":
    serve(lambda: _Worker(sys.argv[1], json.loads(sys.argv[2])).answer)
