"""Detections drawn on an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_actnas.core.errors import MissingDependencyError
from keras_actnas.integrations.detection.suppression import Detections

# Okabe and Ito's colours, which people who see red and green alike can tell, and the ink to be read on each.
_COLOURS = (
    ("#e69f00", "#000000"),
    ("#56b4e9", "#000000"),
    ("#009e73", "#000000"),
    ("#f0e442", "#000000"),
    ("#0072b2", "#ffffff"),
    ("#d55e00", "#000000"),
    ("#cc79a7", "#000000"),
)
_LINES_PER_SIDE = 320
"""A line is as wide as the image's mean side by this many, at least 2 pixels."""


def draw_detections(image: np.ndarray, detections: Detections, names: Sequence[str]) -> Any:
    """Returns an image with its detections: a frame each, with the class's name and the score in per cent.

    Args:
      image: uint8 of shape (height, width, 3), RGB; is left as it is.
      detections: What was found in it.
      names: What the classes are called. Classes share colours from the eighth on: the name tells them apart.

    Returns:
      A `PIL.Image.Image`.

    Raises:
      MissingDependencyError: Pillow is not installed.

    Example::

        draw_detections(image, detector(image), detector.names).save("found.png")
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise MissingDependencyError("pillow", "detect", "Drawing detections") from error
    picture = Image.fromarray(image)
    canvas = ImageDraw.Draw(picture)
    line = max(round(sum(picture.size) / 2 / _LINES_PER_SIDE), 2)
    font = ImageFont.load_default(size=6 * line)
    # The surest last, so that it lies on top.
    for index in reversed(range(len(detections))):
        number = int(detections.classes[index])
        colour, ink = _COLOURS[number % len(_COLOURS)]
        left, top, right, bottom = detections.boxes[index].tolist()
        canvas.rectangle((left, top, right, bottom), outline=colour, width=line)
        text = f"{names[number]} {detections.scores[index]:.0%}"
        _, _, width, height = canvas.textbbox((0, 0), text, font=font)
        # Above the frame, or inside it where there is no room; and not out of the image to the right.
        label_top = top - height - line if top - height - line >= 0 else top
        label_left = max(min(left, picture.width - width - 2 * line), 0)
        canvas.rectangle((label_left, label_top, label_left + width + 2 * line, label_top + height + line), fill=colour)
        canvas.text((label_left + line, label_top), text, fill=ink, font=font)
    return picture
