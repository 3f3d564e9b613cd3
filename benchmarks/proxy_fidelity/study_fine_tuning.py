"""Fine-tuning in the detector of the study as a score, for a search: `--proxy` names `study_fine_tuned`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from detection_images import DetectionImages
from train_detector import Trainer

from keras_actnas.core import Assignment

HELD_OUT = 0.2
"""Share of the training images that the search asks with; none of those that the study tests on."""

scored: list[tuple[DetectionImages, argparse.Namespace]] = []
"""The training images, and the flags of a training as in the study; the last ones count."""


class StudyFineTuned:
    """Held-out loss of an assignment after a training like the study's own, from the network of seed 0."""

    metric, unit, higher_is_better = "study_fine_tuned", "loss", False

    def __init__(self, images: DetectionImages, options: argparse.Namespace) -> None:
        count = int(len(images) * (1 - HELD_OUT))
        self._trainer = Trainer(images[:count], images[count:], options)
        self.reference = self._trainer.reference
        self.conditions: dict[str, Any] = {"images": images.fingerprint, "recipe": vars(options)}

    def score(self, assignment: Mapping[str, str], seed: int | None = None) -> float:
        """Returns the loss on the images that are held out, which the network of seed 0 has not seen either."""
        whole = Assignment(self.reference.with_swaps(assignment))
        return float(self._trainer.train(whole, seed or 0)["test_loss"])


def study_fine_tuned(
    model: keras.Model, images: np.ndarray, activations: Sequence[str], batch_norm: str
) -> StudyFineTuned:
    """Returns the score; it has a network of its own."""
    return StudyFineTuned(*scored[-1])


study_fine_tuned.kind = {
    "higher_is_better": False, "noisy": True, "design": "shares", "confidence": 0.9, "bound": "<=100.5%",
}  # fmt: skip
