"""Batches of a detection data set, as Ultralytics' loss takes them: the same ones for every training."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_actnas.core.errors import InputError, MissingDependencyError
from keras_actnas.integrations.torch_import import torch

try:
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.utils import LOGGER
except ImportError as error:
    raise MissingDependencyError(error.name or "ultralytics", "ultralytics", "Training a YOLO") from error

BATCH_SIZE = 16
"""Images in a batch, as in Ultralytics' trainings, where there are as many."""

HELD_OUT = 2048
"""Images of a split that are asked with at most."""

_MEMORY = 2 << 30
"""Bytes of scaled images of one split that are kept; others are read again whenever they are needed."""

Batch = dict[str, torch.Tensor]
"""`img`: (images, 3, height, width), 0 .. 1, RGB; of each object `batch_idx`: its image, `cls`: (objects, 1), and
`bboxes`: (objects, 4), centre x and y, width, height as fractions of the image."""


class DetectionBatches:
    """The images of one split, read and labelled by Ultralytics, letterboxed to one size, with no mosaic.

    Args:
      data: What `check_data` returns.
      split: "train" or "val".
      image_size: Height and width of the network's input.

    Raises:
      InputError: Ultralytics cannot read the images.
    """

    def __init__(self, data: Mapping[str, Any], split: str, image_size: tuple[int, int]) -> None:
        height, width = image_size
        size = height if height == width else (height, width)
        level = LOGGER.level
        LOGGER.setLevel(logging.WARNING)  # Hides the bar over the labels.
        try:
            self._dataset = YOLODataset(data[split], imgsz=size, augment=False, hyp=get_cfg(), data=dict(data))
        except (AssertionError, OSError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"Expected images that can be read for {split}: {data[split]}. Received: {reason}") from (
                error
            )
        finally:
            LOGGER.setLevel(level)
        self._kept: dict[int, Batch] = {}
        self._room = _MEMORY // (3 * height * width)
        self.batch_size = min(BATCH_SIZE, len(self._dataset))

    def __len__(self) -> int:
        return len(self._dataset)

    def endless(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Yields full batches without end: all images in a new order each time, half of them mirrored."""
        while True:
            order = rng.permutation(len(self))[: len(self) // self.batch_size * self.batch_size]
            for rows in order.reshape(-1, self.batch_size):
                yield self._batch(rows.tolist(), (rng.random(len(rows)) < 0.5).tolist())

    def held_out(self) -> Iterator[Batch]:
        """Yields the images to ask with, once: all, or `HELD_OUT` that are drawn, the same ones each time."""
        rows = np.sort(np.random.default_rng(0).permutation(len(self))[:HELD_OUT])
        for start in range(0, len(rows), self.batch_size):
            part = rows[start : start + self.batch_size].tolist()
            yield self._batch(part, [False] * len(part))

    def labels_digest(self) -> str:
        """Returns a hash of the names of all images and of what is in them; of no pixels."""
        digest = hashlib.sha256()
        for path, label in zip(self._dataset.im_files, self._dataset.labels, strict=True):
            digest.update(str(path).replace("\\", "/").rpartition("/")[2].encode())
            digest.update(np.ascontiguousarray(label["cls"]).tobytes())
            digest.update(np.ascontiguousarray(label["bboxes"]).tobytes())
        return digest.hexdigest()[:16]

    def held_out_digest(self) -> str:
        """Returns a hash of all that there is in `held_out`."""
        digest = hashlib.sha256()
        for batch in self.held_out():
            for name in ("img", "batch_idx", "cls", "bboxes"):
                digest.update(np.ascontiguousarray(batch[name].numpy()).tobytes())
        return digest.hexdigest()[:16]

    def _sample(self, row: int) -> Batch:
        """Returns one image, as bytes, with its objects."""
        if row in self._kept:
            return self._kept[row]
        whole = self._dataset[row]
        sample = {name: whole[name] for name in ("img", "cls", "bboxes")}
        if len(self._kept) < self._room:
            self._kept[row] = sample
        return sample

    def _batch(self, rows: Sequence[int], mirrored: Sequence[bool]) -> Batch:
        images, classes, boxes, numbers = [], [], [], []
        for number, (row, mirror) in enumerate(zip(rows, mirrored, strict=True)):
            sample = self._sample(row)
            image, box = sample["img"], sample["bboxes"].clone()
            if mirror:
                image = image.flip(2)
                box[:, 0] = 1 - box[:, 0]
            images.append(image)
            boxes.append(box)
            classes.append(sample["cls"])
            numbers.append(torch.full((len(box),), float(number)))
        return {
            "img": torch.stack(images).to(torch.float32).div_(255),
            "batch_idx": torch.cat(numbers),
            "cls": torch.cat(classes),
            "bboxes": torch.cat(boxes),
        }
