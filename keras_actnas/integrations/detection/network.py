"""The network of a detector, .tflite or Keras: what it takes and puts out, and running it on one image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.tflite_bench.runner import TFLiteRunner


class Network(Protocol):
    """A network that is open.

    Attributes:
      name: What it is called in messages.
      input_shape: Batch, height, width, channels; the batch may be None.
      output_shapes: The shape of every output, batch first.
    """

    name: str
    input_shape: tuple[int | None, ...]
    output_shapes: Sequence[tuple[int | None, ...]]

    def predict(self, images: np.ndarray) -> list[np.ndarray]:
        """Runs the network on a batch of images; returns its outputs as real numbers."""


def open_network(model: Any, num_threads: int = 1) -> Network:
    """Opens a network with one input that is an image of fixed size, one at a time.

    Args:
      model: Path of a .tflite, or a Keras model.
      num_threads: Threads of the TFLite interpreter; Keras takes what its backend does.

    Raises:
      InputError: The file cannot be read or run, or its input is no image of fixed size.
    """
    network: Network
    if not isinstance(model, str | os.PathLike):
        network = KerasNetwork(model, f"the model {model.name!r}")
    else:
        network = TFLiteNetwork(model, num_threads)
    shape = network.input_shape
    if len(shape) != 4 or shape[0] not in (None, 1) or None in shape[1:] or shape[3] != 3:
        raise InputError(
            "Expected a network whose input is one colour image of fixed size: (1, height, width, 3). "
            f"Received: {network.name} with input shape {shape}."
        )
    return network


class TFLiteNetwork:
    """A .tflite, float or quantized; needs a TFLite runtime and NumPy."""

    def __init__(self, path: str | os.PathLike[str], num_threads: int = 1) -> None:
        self._runner = TFLiteRunner(path, num_threads)
        self.name = str(path)
        shapes = self._runner.input_shapes
        self.input_shape: tuple[int | None, ...] = _only_input(shapes, self.name)
        self.output_shapes: Sequence[tuple[int | None, ...]] = self._runner.output_shapes

    def predict(self, images: np.ndarray) -> list[np.ndarray]:
        """See `Network`."""
        return self._runner.predict(images)


class KerasNetwork:
    """A Keras model, run without training's behaviour, compiled for one batch size."""

    def __init__(self, model: Any, name: str) -> None:
        self._model = model
        self.name = name
        self.input_shape = _only_input([tuple(one.shape) for one in model.inputs], name)
        self.output_shapes: Sequence[tuple[int | None, ...]] = [tuple(one.shape) for one in model.outputs]

    def predict(self, images: np.ndarray) -> list[np.ndarray]:
        """See `Network`."""
        outputs = self._model.predict_on_batch(images)
        return [np.asarray(one) for one in (outputs if isinstance(outputs, list | tuple) else [outputs])]


def _only_input(shapes: Sequence[tuple[int | None, ...]], name: str) -> tuple[int | None, ...]:
    if len(shapes) != 1:
        raise InputError(f"Expected a network with one input, the image. Received: {name} with {len(shapes)}.")
    return shapes[0]
