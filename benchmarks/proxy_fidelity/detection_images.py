"""The images of a detection data set, all in memory, and batches of them as Ultralytics' loss takes them."""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import yaml

from keras_actnas.core import InputError
from keras_actnas.integrations import Detections, read_dataset, read_photograph
from keras_actnas.integrations.detection.letterbox import Letterbox


@dataclasses.dataclass(frozen=True)
class DetectionImages:
    """Images that are square and of one size, and what is in them.

    Attributes:
      names: What the classes are called.
      pixels: uint8 of shape (images, 3, size, size), RGB.
      truths: Of each image, a row for every object: class, centre x, centre y, width, height, as fractions.
    """

    names: tuple[str, ...]
    pixels: torch.Tensor
    truths: tuple[torch.Tensor, ...]

    def __getitem__(self, rows: slice) -> DetectionImages:
        """Returns some of the images."""
        return DetectionImages(self.names, self.pixels[rows], self.truths[rows])

    def __len__(self) -> int:
        return len(self.truths)

    @property
    def fingerprint(self) -> str:
        """Checksum of all pixels and objects."""
        objects = torch.cat(self.truths).numpy()
        return "-".join(f"{zlib.crc32(part.tobytes()):08x}" for part in (self.pixels.numpy(), objects))

    def boxes(self) -> list[Detections]:
        """Returns the objects of each image in pixels, as an evaluation takes them."""
        size = self.pixels.shape[-1]
        found = []
        for truth in self.truths:
            centre, half = truth[:, 1:3], truth[:, 3:] / 2
            corners = torch.cat([centre - half, centre + half], 1) * size
            found.append(Detections(corners.numpy(), np.ones(len(truth)), truth[:, 0].numpy().astype(int)))
        return found

    def batches(self, batch: int, order: torch.Generator | None = None) -> Iterator[dict[str, torch.Tensor]]:
        """Yields all images, batch by batch.

        Args:
          batch: Images in a batch; with an order, images that do not fill one are left out.
          order: Draws the order of the images, and which ones are flipped; None for neither.
        """
        count = len(self)
        rows = torch.arange(count) if order is None else torch.randperm(count, generator=order)
        flipped = torch.zeros(count, dtype=torch.bool)
        if order is not None:
            rows = rows[: count // batch * batch]
            flipped = torch.rand(count, generator=order) < 0.5
        for part in rows.split(batch):
            yield self._batch(part, flipped[part])

    def _batch(self, rows: torch.Tensor, flipped: torch.Tensor) -> dict[str, torch.Tensor]:
        pixels = self.pixels[rows]
        pixels = torch.where(flipped[:, None, None, None], pixels.flip(3), pixels)
        truths = [self.truths[row] for row in rows.tolist()]
        numbers = torch.arange(len(rows)).repeat_interleave(torch.tensor([len(truth) for truth in truths]))
        objects = torch.cat(truths)
        boxes = objects[:, 1:].clone()
        boxes[:, 0] = torch.where(flipped[numbers], 1 - boxes[:, 0], boxes[:, 0])
        images = pixels.to(torch.float32, memory_format=torch.channels_last).div_(255)
        return {"img": images, "batch_idx": numbers, "cls": objects[:, :1], "bboxes": boxes}


def load_images(data: str, split: str, size: int, count: int) -> DetectionImages:
    """Returns the first images of a split of a data set.

    Args:
      data: The data.yaml.
      split: "train" or "val".
      size: Height and width that the images are scaled to, in pixels.
      count: How many images.

    Raises:
      InputError: The split has fewer images, or one that is not square; or as `read_dataset`.
    """
    flag = {"train": "--images", "val": "--tested"}[split]
    dataset = read_dataset(data, split)
    if len(dataset.truths) < count:
        raise InputError(
            f"Expected {flag} of {len(dataset.truths)} at most, as many as {data} has for {split}. Received: {count}."
        )
    pixels, truths = np.empty((count, size, size, 3), np.uint8), []
    for number, (path, truth) in enumerate(itertools.islice(dataset.truths.items(), count)):
        image = read_photograph(path)
        height, width = image.shape[:2]
        if height != width:
            raise InputError(f"Expected square images. Received: {path} of {width} x {height} pixels.")
        pixels[number] = Letterbox((height, width), (size, size)).apply(image)
        truths.append(torch.tensor(np.column_stack([truth.classes, truth.boxes]), dtype=torch.float32))
    return DetectionImages(dataset.names, torch.tensor(pixels).permute(0, 3, 1, 2), tuple(truths))


def hold_out(data: str, share: float) -> Path:
    """Returns the data.yaml, written beside the given one, that holds out the last of its training images as `val`.

    Args:
      data: The data.yaml.
      share: Of the images, which is held out.
    """
    images = [str(Path(path).absolute()) for path in read_dataset(data, "train").truths]
    count = int(len(images) * (1 - share))
    folder, content = Path(data).parent, yaml.safe_load(Path(data).read_text(encoding="utf-8"))
    for split, part in (("train", images[:count]), ("val", images[count:])):
        listed = folder / f"held_out_{split}.txt"
        listed.write_text("\n".join(part) + "\n", encoding="utf-8")
        content[split] = str(listed.absolute())
    file = folder / "held_out.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return file
