"""Letterboxing: an image scaled to fit a network's input, centred, with grey borders; and boxes carried back."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_actnas.integrations.detection.photographs import opencv

GREY = 114
"""Value of the border, which Ultralytics trains with too."""


@dataclasses.dataclass(frozen=True)
class Letterbox:
    """How an image lies in the input of a network: `ultralytics.data.augment.LetterBox(size, auto=False)`.

    Attributes:
      image_size: Height and width of the image.
      input_size: Height and width of the input.

    >>> box = Letterbox((1080, 810), (640, 640))
    >>> box.scaled_size, box.offset
    ((640, 480), (0, 80))
    >>> box.to_image(np.asarray([[80.0, 0.0, 560.0, 700.0]])).tolist()
    [[0.0, 0.0, 810.0, 1080.0]]
    """

    image_size: tuple[int, int]
    input_size: tuple[int, int]

    @property
    def scaled_size(self) -> tuple[int, int]:
        """Height and width of the image once scaled, at least 1 pixel."""
        (height, width), (input_height, input_width) = self.image_size, self.input_size
        scale = min(input_height / height, input_width / width)
        return max(round(height * scale), 1), max(round(width * scale), 1)

    @property
    def offset(self) -> tuple[int, int]:
        """Rows above the scaled image, and columns left of it."""
        top, left = (
            round((size - scaled) / 2 - 0.1)  # An odd row or column more is below, or right.
            for size, scaled in zip(self.input_size, self.scaled_size, strict=True)
        )
        return top, left

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Returns the image in the middle of the input: uint8 of shape (*input_size, 3)."""
        height, width = self.scaled_size
        if (height, width) != self.image_size:
            cv2 = opencv()
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        top, left = self.offset
        boxed = np.full((*self.input_size, image.shape[-1]), GREY, image.dtype)
        boxed[top : top + height, left : left + width] = image
        return boxed

    def to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Returns boxes (n, 4), left, top, right, bottom, of the input as boxes of the image, cut at its edges."""
        (height, width), (scaled_height, scaled_width), (top, left) = self.image_size, self.scaled_size, self.offset
        scale = np.asarray([scaled_width / width, scaled_height / height] * 2, boxes.dtype)
        moved = (boxes - np.asarray([left, top] * 2, boxes.dtype)) / scale
        return np.clip(moved, 0, np.asarray([width, height] * 2, boxes.dtype))
