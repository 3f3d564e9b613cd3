"""Mean average precision (mAP) of a detector on a dataset, by COCO's own evaluator, pycocotools."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_actnas.core.errors import MissingDependencyError
from keras_actnas.integrations.detection.dataset import DetectionDataset
from keras_actnas.integrations.detection.detector import Detector
from keras_actnas.integrations.detection.photographs import read_photograph
from keras_actnas.integrations.detection.suppression import Detections, Suppression

EVALUATION = Suppression(confidence=0.001, multi_label=True)
"""Which boxes count in an evaluation: those of Ultralytics' `val`."""

_WHOLE_RANGE = [[0, 1e10]]  # Objects of every area, in square pixels.


@dataclasses.dataclass(frozen=True)
class DetectionMetrics:
    """Average precision, from 0 to 1, the mean over 101 recalls (COCO).

    Attributes:
      names: The classes.
      ap50: Average precision of each class at an intersection over union of 0.5; NaN where no image shows one.
      ap50_95: The mean over the ten thresholds 0.5, 0.55, ... 0.95, likewise.
      images: How many images there were.
      objects: How many objects of each class they show.
    """

    names: tuple[str, ...]
    ap50: np.ndarray
    ap50_95: np.ndarray
    images: int
    objects: np.ndarray

    @property
    def map50(self) -> float:
        """The mean of `ap50` over the classes that are there; NaN without any."""
        return _mean(self.ap50)

    @property
    def map50_95(self) -> float:
        """The mean of `ap50_95` over the classes that are there; NaN without any."""
        return _mean(self.ap50_95)

    def to_json(self) -> dict[str, Any]:
        """Returns the figures as values that JSON holds; the classes are those that are there."""
        shown = zip(self.names, self.objects, self.ap50, self.ap50_95, strict=True)
        return {
            "map50": self.map50,
            "map50_95": self.map50_95,
            "images": self.images,
            "classes": {
                name: {"objects": int(objects), "ap50": float(at_50), "ap50_95": float(over_all)}
                for name, objects, at_50, over_all in shown
                if objects
            },
        }

    def __str__(self) -> str:
        width = max(map(len, (*self.names, "all")))
        rows = [f"{'class':{width}}  objects   mAP50  mAP50-95"]
        values = zip(self.names, self.objects, self.ap50, self.ap50_95, strict=True)
        for name, objects, at_50, over_all in [("all", self.objects.sum(), self.map50, self.map50_95), *values]:
            if objects:
                rows.append(f"{name:{width}}  {objects:7}  {at_50:6.4f}    {over_all:6.4f}")
        return "\n".join(rows)


def evaluate_detection(
    model: Any,
    dataset: DetectionDataset,
    suppression: Suppression = EVALUATION,
    pixel_max: float = 1.0,
    num_threads: int = 1,
    progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> DetectionMetrics:
    """Returns the mAP of a model on a dataset.

    It is COCO's mAP, and within 0.01 of what Ultralytics' `val` says of a trained network. That one takes the area
    under the curve between COCO's 101 points, gives an object to the box that overlaps it most where COCO takes the
    surest, and does not cut boxes at the image's edges: for a network that finds much that is not there, both differ.

    Args:
      model: As `Detector` takes it.
      dataset: As `read_dataset` returns it.
      suppression: Which boxes count.
      pixel_max: Value of a white pixel as the model expects it.
      num_threads: Threads of the TFLite interpreter.
      progress: Wraps the images, for a bar.

    Raises:
      InputError: The model tells another number of classes apart than the dataset names; or as `Detector`.
      MissingDependencyError: pycocotools or OpenCV is not installed.

    Example::

        print(evaluate_detection("yolov5n.tflite", read_dataset("coco128.yaml")))
    """
    _pycocotools()  # Missing, it should not be found out after the images.
    detector = Detector(model, dataset.names, suppression, pixel_max, num_threads)
    sizes, found = [], []
    for path in progress(list(dataset.truths)):
        image = read_photograph(path)
        sizes.append(image.shape[:2])
        found.append(detector(image))
    truths = [
        Detections(truth.corners(*size), np.ones(len(truth.classes)), truth.classes)
        for truth, size in zip(dataset.truths.values(), sizes, strict=True)
    ]
    return average_precision(truths, found, dataset.names, suppression.max_detections)


def average_precision(
    truths: Sequence[Detections], found: Sequence[Detections], names: Sequence[str], max_detections: int = 300
) -> DetectionMetrics:
    """Returns average precision by pycocotools.

    Args:
      truths: What each image shows; scores are not looked at.
      found: What was found in each image.
      names: The classes.
      max_detections: How many detections of an image and class count.

    Raises:
      MissingDependencyError: pycocotools is not installed.
    """
    truth, found_rows = _rows(truths), _rows(found)
    counts = np.bincount(truth[:, 6].astype(int), minlength=len(names))
    precision = np.full((10, len(names)), np.nan)
    precision[:, counts > 0] = 0
    if len(truth) and len(found_rows):
        # Threshold, recall, class; -1 for classes that no image shows.
        curves = _curves(truth, found_rows, len(truths), len(names), max_detections)
        shown = curves.min(axis=(0, 1)) >= 0
        precision[:, shown] = curves[:, :, shown].mean(axis=1)
    return DetectionMetrics(tuple(names), precision[0], precision.mean(axis=0), len(truths), counts)


def _curves(truth: np.ndarray, found: np.ndarray, images: int, classes: int, max_detections: int) -> np.ndarray:
    """Returns the precision at 10 thresholds, 101 recalls, for each class."""
    coco, evaluator = _pycocotools()
    with contextlib.redirect_stdout(io.StringIO()):  # It prints what it does.
        known = coco()
        known.dataset = {
            "info": {},
            "images": [{"id": number} for number in range(images)],
            "categories": [{"id": number} for number in range(classes)],
            "annotations": [
                # Numbers from 1: it takes an object numbered 0 for none.
                {"id": number, "image_id": int(row[0]), "category_id": int(row[6]), "bbox": row[1:5].tolist()}
                | {"area": float(row[3] * row[4]), "iscrowd": 0}
                for number, row in enumerate(truth, 1)
            ],
        }
        known.createIndex()
        evaluation = evaluator(known, known.loadRes(found), "bbox")
        evaluation.params.maxDets = [max_detections]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = _WHOLE_RANGE, ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, :, 0, 0]


def _rows(images: Sequence[Detections]) -> np.ndarray:
    """Returns a row for every box: image, left, top, width, height, score, class, as pycocotools takes results."""
    rows = [
        np.column_stack(
            [np.full(len(one), number), one.boxes[:, :2], one.boxes[:, 2:] - one.boxes[:, :2], one.scores, one.classes]
        )
        for number, one in enumerate(images)
    ]
    return np.concatenate(rows) if rows else np.zeros((0, 7))


def _mean(values: np.ndarray) -> float:
    shown = values[~np.isnan(values)]
    return float(shown.mean()) if len(shown) else float("nan")


def _pycocotools() -> tuple[Any, Any]:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingDependencyError("pycocotools", "detect", "Average precision") from error
    return COCO, COCOeval
