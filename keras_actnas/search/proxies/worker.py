"""The process that computes scores for another: see `ScoringProcesses`.

`python -m keras_actnas.search.proxies.worker FOLDER` makes the proxy that the folder describes, and answers each
request, a line of JSON {"tasks": [[assignment, seed, batch], ...]}, with {"scores": [...]}: as many as could be
computed, and under "failure" why not all.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_actnas.core.errors import InputError
from keras_actnas.tflite_bench.worker import serve


def scorer(folder: Path) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Returns what answers requests for scores of the proxy that a folder describes."""
    description = json.loads((folder / "proxy.json").read_text(encoding="utf-8"))
    os.environ["KERAS_BACKEND"] = description["backend"]
    proxies: list[Any] = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if not proxies:  # Not before the first request, whose answer can say what is wrong.
            proxies.extend(_proxies(folder, description))
        scores: list[float] = []
        try:
            for assignment, seed, batch in request["tasks"]:
                scores.append(proxies[batch].score(assignment, seed))  # noqa: PERF401 (keeps those before a failure)
        except InputError as error:
            return {"scores": scores, "failure": str(error)}
        return {"scores": scores}

    return answer


def _proxies(folder: Path, description: dict[str, Any]) -> list[Any]:
    import keras
    import numpy as np

    from keras_actnas.export.keras_files import loading_problem
    from keras_actnas.search.proxies.registry import proxies_on

    try:
        model = keras.models.load_model(folder / "model.keras", compile=False)
    except Exception as error:  # Keras raises many types, depending on what is missing.
        raise InputError(
            "Expected a model that every process can load, with registered or importable layers, to be scored in "
            f"processes. Received: one that it cannot ({loading_problem(error)}); give neither --score_processes nor "
            "--scheduler."
        ) from error
    images = [np.load(folder / f"{number}.npy") for number in range(description["batches"])]
    made = proxies_on(description["name"], model, images, description["activations"], description["batch_norm"])
    for proxy, expected in zip(made, description["conditions"], strict=True):
        if json.loads(json.dumps(proxy.conditions)) != expected:
            raise InputError(
                "Expected a model that comes out of a .keras file as it went in, to be scored in processes. "
                f"Received: {model.name!r}, which does not; give neither --score_processes nor --scheduler."
            )
    return made


if __name__ == "__main__":
    serve(lambda: scorer(Path(sys.argv[1])))
