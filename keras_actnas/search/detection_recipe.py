"""What a detector is trained with for a score, before there is a network or a data set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

_SUFFIXES = (".yaml", ".yml")


@dataclasses.dataclass(frozen=True)
class DetectionRecipe:
    """What a detector is trained with for a score; the loss is the detector's own.

    Attributes:
      data_file: The data.yaml of a detection data set in the format of YOLO.
      steps: How many steps a training takes.
      learning_rate: The highest learning rate; None for what is usual.
    """

    data_file: Path
    steps: int
    learning_rate: float | None = None


def is_detection_data(spec: str | None) -> bool:
    """Returns whether `--train_data` is a data.yaml, of images with boxes, and not of images with classes.

    >>> is_detection_data("items/data.yaml"), is_detection_data("my_data:load"), is_detection_data(None)
    (True, False, False)
    """
    return spec is not None and ":" not in Path(spec).name and spec.endswith(_SUFFIXES)
