"""From an image to detections: letterbox, network, decoding, suppression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_actnas.core.checks import is_finite
from keras_actnas.core.errors import InputError
from keras_actnas.integrations.detection.head_outputs import count_classes, decode
from keras_actnas.integrations.detection.letterbox import Letterbox
from keras_actnas.integrations.detection.network import open_network
from keras_actnas.integrations.detection.photographs import opencv
from keras_actnas.integrations.detection.suppression import Detections, Suppression
from keras_actnas.tflite_bench.runner import check_finite


class Detector:
    """A YOLO that looks at images.

    With the same weights it finds what `ultralytics.YOLO(...).predict(..., imgsz=input_size, rect=False)` finds. A
    `.tflite` needs NumPy, OpenCV and a TFLite runtime alone, so this runs on a board too.

    Args:
      model: A Keras model as `keras_actnas.models.YOLO` makes it, the head maps decoded or not, or the path of a
        .tflite converted from one, float or int8.
      names: What the classes are called; their numbers when None.
      suppression: Which boxes are detections; None takes the settings of Ultralytics' `predict`.
      pixel_max: Value of a white pixel as the model expects it: 1 or 255.
      num_threads: Threads of the TFLite interpreter.

    Attributes:
      names: One for every class.
      input_size: Height and width of the network's input.

    Raises:
      InputError: The model cannot be read, its output is not a YOLO's, or there are not as many names as it tells
        classes apart.
      MissingDependencyError: OpenCV or the runtime is not installed.

    Example::

        found = Detector("yolov5n.tflite")(read_photograph("bus.jpg"))
        print(len(found), found.boxes, found.scores, found.classes)
    """

    def __init__(
        self,
        model: Any,
        names: Sequence[str] | None = None,
        suppression: Suppression | None = None,
        pixel_max: float = 1.0,
        num_threads: int = 1,
    ) -> None:
        opencv()  # Missing, it should not be found out after the network was opened.
        if not is_finite(pixel_max) or pixel_max <= 0:
            raise InputError(f"Expected --pixel_max above 0, such as 1 or 255. Received: {pixel_max!r}.")
        self.suppression = suppression or Suppression()
        self._network = open_network(model, num_threads)
        _, height, width, _ = self._network.input_shape
        self.input_size: tuple[int, int] = (int(height or 0), int(width or 0))
        classes = count_classes(self._network.output_shapes, self.input_size, self._network.name)
        if names is not None and len(names) != classes:
            raise InputError(
                f"Expected names for the {classes} classes that {self._network.name} tells apart. "
                f"Received: {len(names)} names; give the --data that it was trained on."
            )
        self.names = tuple(names) if names is not None else tuple(map(str, range(classes)))
        self._scale = np.float32(pixel_max / 255)

    def __call__(self, image: np.ndarray) -> Detections:
        """Returns what is in an image.

        Args:
          image: uint8 of shape (height, width, 3), RGB.

        Returns:
          Detections with boxes in the image's pixels, inside its edges.

        Raises:
          InputError: Not such an array; or the network's outputs are not finite.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise InputError(
                "Expected an image as uint8 of shape (height, width, 3). "
                f"Received: {image.dtype} of shape {image.shape}."
            )
        place = Letterbox((image.shape[0], image.shape[1]), self.input_size)
        pixels = place.apply(image).astype(np.float32) * self._scale
        outputs = self._network.predict(pixels[np.newaxis])
        check_finite(outputs, self._network.name)
        found = self.suppression(*decode(outputs, self.input_size))
        return Detections(place.to_image(found.boxes), found.scores, found.classes)
