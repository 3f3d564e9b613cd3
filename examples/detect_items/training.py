"""Trainings of the example: the network with SiLU from scratch, and what fine-tuning makes of other activations."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NETWORK = Path(__file__).with_name("network.yaml")

RECIPE: dict[str, Any] = {
    "optimizer": "AdamW",
    "lrf": 0.01,  # The last epoch's learning rate, as a share of the first one's.
    "batch": 16,
    "nbs": 16,  # A step for every batch; by default Ultralytics gathers 64 images.
    "mosaic": 0.0,  # The images are mosaics of items already.
    "hsv_h": 0.0,
    "scale": 0.2,
}
"""Settings of Ultralytics that all trainings share."""

LEARNING_RATES = {"scratch": 0.003, "fine-tuning": 0.001}

# What makes no difference to the result but to the time it takes, and to what is printed and drawn.
_QUIET = {"amp": False, "device": "cpu", "plots": False, "val": False, "verbose": False, "workers": 0}


def train_from_scratch(data: Path, out: Path, seed: int, epochs: int, size: int) -> dict[str, Any]:
    """Trains the network with SiLU from random weights, and returns the seconds it took.

    Args:
      data: The data.yaml.
      out: Folder for what Ultralytics writes; whatever is there, of a training that was killed, is removed.
      seed: Seed of weights, of the order of images and of what is done to them.
      epochs: Number of epochs. The network of the last one counts, not the best one on the validation images.
      size: Height and width of the images, in pixels.
    """
    warmup = {"warmup_epochs": 1.0, "lr0": LEARNING_RATES["scratch"]}
    return _train(NETWORK, out, {"data": str(data), "seed": seed, "epochs": epochs, "imgsz": size, **warmup})


def fine_tune(
    weights: Path, assignment: Mapping[str, str], data: Path, out: Path, seed: int, epochs: int, size: int
) -> dict[str, Any]:
    """Trains on from trained weights with the activations of an assignment, to which sites move gradually.

    Args:
      weights: The checkpoint to start from.
      assignment: Site -> activation. With that of the checkpoint nothing moves, and it is plain training on.
      data: As for `train_from_scratch`, and so are the others.
      out: Likewise.
      seed: Likewise.
      epochs: Likewise.
      size: Likewise.
    """
    from keras_actnas.integrations import ActNASTrainer
    from keras_actnas.integrations.finetuning import TRANSITION

    ours = {"trainer": ActNASTrainer, "assignment": dict(assignment), "transition": TRANSITION}
    rate = {"warmup_epochs": 0.0, "lr0": LEARNING_RATES["fine-tuning"]}
    return _train(weights, out, {**ours, "data": str(data), "seed": seed, "epochs": epochs, "imgsz": size, **rate})


def _train(start: Path, out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    from ultralytics import YOLO

    shutil.rmtree(out, ignore_errors=True)
    begin = time.perf_counter()
    place = {"project": str(out.parent.absolute()), "name": out.name, "exist_ok": True}
    YOLO(start).train(**RECIPE, **_QUIET, **place, **settings)
    return {"seconds": round(time.perf_counter() - begin, 1)}


def checkpoint(out: Path) -> Path:
    """Returns the checkpoint of a training's last epoch."""
    return out / "weights" / "last.pt"
