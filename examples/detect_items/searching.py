"""The search of the example."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from keras_actnas.core import Constraint

SCORE_IMAGES = 32
"""Training images that networks are scored on."""


def search(weights: Path, data: Path, out: Path, spec: str, proxy: str, constraint: str, size: int) -> dict[str, Any]:
    """Searches the activations of a trained network for a device; returns the best proposal and the reference.

    Args:
      weights: The checkpoint.
      data: The data.yaml: networks are scored on its training images, and int8 is calibrated on them.
      out: The run folder, which keeps what was measured.
      spec: The device, as `--device` of the command takes it.
      proxy: What networks are scored by, as `--proxy` takes it.
      constraint: Bound on the score, as `--constraint` takes it.
      size: Height and width of the images, in pixels.
    """
    from keras_actnas.devices import open_device
    from keras_actnas.integrations import from_ultralytics
    from keras_actnas.report import proposals_table
    from keras_actnas.search import Search, SearchSettings

    begin = time.perf_counter()
    model = from_ultralytics(weights, (size, size, 3))
    images = str(data.parent / "images" / "train")
    settings = SearchSettings(
        proxy=proxy, constraints=(Constraint.parse(constraint),), images=images, batch_size=SCORE_IMAGES
    )
    with open_device(spec) as device:
        result = Search(model, out, settings, device=device, say=print).run()
    print(proposals_table(result.reference, result.proposals, result.baselines, result.units, settings.constraints))
    return {
        "reference": dict(result.reference.assignment),
        "proposal": dict(result.best.assignment),
        "estimated": device.estimated,
        "seconds": round(time.perf_counter() - begin, 1),
    }


def check_search(spec: str, proxy: str, constraint: str) -> None:
    """Raises `InputError` for a device, proxy or constraint that cannot be used, before anything is trained."""
    from keras_actnas.devices import open_device
    from keras_actnas.search import SearchSettings

    settings = SearchSettings(proxy=proxy, constraints=(Constraint.parse(constraint),))
    with open_device(spec) as device:
        settings.check_metrics([*device.metrics, settings.kind.name])
