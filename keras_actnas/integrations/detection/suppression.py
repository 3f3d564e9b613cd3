"""Which boxes of a network's many are detections: the sure ones, without those that overlap a surer one."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_actnas.core.checks import is_finite, is_whole
from keras_actnas.core.errors import InputError
from keras_actnas.integrations.detection.photographs import opencv

_MOST_BOXES = 30_000
"""How many of the surest boxes are compared with each other, as in Ultralytics."""


@dataclasses.dataclass(frozen=True)
class Detections:
    """What was found in one image, the surest first.

    Attributes:
      boxes: (n, 4) left, top, right, bottom, in pixels.
      scores: (n,) probabilities.
      classes: (n,) class numbers.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


@dataclasses.dataclass(frozen=True)
class Suppression:
    """Class-aware non-maximum suppression, by OpenCV, with Ultralytics' settings.

    OpenCV's is maintained, runs on boards, and compares in double precision; torchvision's and TensorFlow's would
    each bring a framework that a .tflite does not need.

    Attributes:
      confidence: Score above which a box may be a detection.
      iou: Intersection over union with a surer box of the same class above which a box is dropped.
      max_detections: How many detections an image has at most.
      multi_label: Whether a box may be one detection for each class above `confidence`, as in an evaluation, or is of
        its surest class alone.

    Raises:
      InputError: A setting is out of its range.
    """

    confidence: float = 0.25
    iou: float = 0.7
    max_detections: int = 300
    multi_label: bool = False

    def __post_init__(self) -> None:
        for flag in ("confidence", "iou"):
            value = getattr(self, flag)
            if not is_finite(value) or not 0 <= value <= 1:
                raise InputError(f"Expected --{flag} from 0 to 1. Received: {value!r}.")
        if not is_whole(self.max_detections) or self.max_detections < 1:
            raise InputError(f"Expected --max_detections of at least 1. Received: {self.max_detections!r}.")

    def __call__(self, boxes: np.ndarray, probabilities: np.ndarray) -> Detections:
        """Returns the detections among all boxes of an image.

        Args:
          boxes: (anchors, 4) left, top, right, bottom.
          probabilities: (anchors, classes).

        >>> boxes = np.asarray([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], np.float32)
        >>> found = Suppression()(boxes, np.asarray([[0.5, 0.1], [0.9, 0.2], [0.1, 0.6]], np.float32))
        >>> found.boxes[:, 3].tolist(), found.classes.tolist()
        ([9.0, 30.0], [0, 1])
        """
        if self.multi_label:
            rows, classes = np.nonzero(probabilities > self.confidence)
        else:
            classes = probabilities.argmax(axis=-1)
            rows = np.nonzero(probabilities[np.arange(len(classes)), classes] > self.confidence)[0]
            classes = classes[rows]
        scores = probabilities[rows, classes]
        surest = np.argsort(-scores, kind="stable")[:_MOST_BOXES]
        rows, classes, scores = rows[surest], classes[surest], scores[surest]
        kept = self._suppress(boxes[rows], scores, classes)
        return Detections(boxes[rows][kept], scores[kept], classes[kept])

    def _suppress(self, boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Returns the numbers of the boxes that stay, the surest first."""
        if not len(boxes):  # OpenCV refuses an empty array.
            return np.zeros(0, np.int64)
        corners = boxes.astype(np.float64)
        corners[:, 2:] -= corners[:, :2]  # It takes left, top, width, height.
        kept = opencv().dnn.NMSBoxesBatched(
            corners, scores.astype(np.float32), classes.astype(np.int32), self.confidence, self.iou
        )
        return np.asarray(kept, np.int64).ravel()[: self.max_detections]
