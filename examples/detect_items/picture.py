"""A picture of validation images with what is in them, and with what networks find."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROWS = 3
TILE = 192
"""Height and width of an image in the picture, in pixels."""

CONFIDENCE = 0.3
_TITLE = 18  # Height of the line above a column, in pixels.
_COLOURS = 128  # A palette makes the file a third as large.


def save_picture(path: Path, data: Path, networks: Mapping[str, Path]) -> None:
    """Draws the first validation images that show three items or more, and a column for each network.

    Args:
      path: The .png to write.
      data: The data.yaml.
      networks: Title of a column -> the .tflite that finds what it shows.
    """
    from PIL import Image, ImageDraw, ImageFont

    from keras_actnas.integrations import Detections, Detector, Suppression, read_dataset, read_photograph

    dataset = read_dataset(data, "val")
    shown = [image for image, truth in dataset.truths.items() if len(truth.classes) >= 3][:ROWS]
    detectors = {
        title: Detector(file, dataset.names, Suppression(confidence=CONFIDENCE)) for title, file in networks.items()
    }
    titles = ["what is there", *detectors]
    picture = Image.new("RGB", (TILE * len(titles), _TITLE + TILE * len(shown)), "white")
    for column, title in enumerate(titles):
        font = ImageFont.load_default(size=12)
        ImageDraw.Draw(picture).text((column * TILE + 4, 2), title, fill="black", font=font)
    for row, file in enumerate(shown):
        image, truth = read_photograph(file), dataset.truths[file]
        there = Detections(truth.corners(*image.shape[:2]), np.ones(len(truth.classes)), truth.classes)
        for column, found in enumerate([there, *(detector(image) for detector in detectors.values())]):
            picture.paste(_tile(image, found, dataset.names), (column * TILE, _TITLE + row * TILE))
    picture.quantize(_COLOURS).save(path, optimize=True)


def _tile(image: np.ndarray, found: Any, names: tuple[str, ...]) -> Any:
    """Returns an image with detections, enlarged before they are drawn, so that names can be read."""
    from PIL import Image

    from keras_actnas.integrations import Detections, draw_detections

    large = np.asarray(Image.fromarray(image).resize((TILE, TILE)))
    scale = TILE / np.asarray([image.shape[1], image.shape[0]] * 2)
    return draw_detections(large, Detections(found.boxes * scale, found.scores, found.classes), names)
