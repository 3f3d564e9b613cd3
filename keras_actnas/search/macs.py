"""Parameters and multiply-accumulates, per layer and in total, of a Keras model or of a .tflite."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from keras_actnas.core.errors import InputError


@dataclasses.dataclass(frozen=True)
class LayerCount:
    """What one layer of a model, or one operator of a .tflite, holds and computes.

    Attributes:
      name: The layer's name, behind the names of the nested models and composite layers that it is in
        (`encoder/attention/query`); in a .tflite the name of the operator's output.
      type: The layer's class, or the operator's name.
      output_shape: Shape of the first output of the first call, without the batch dimension.
      parameters: Number of the layer's own weights, without those of the layers inside of it and those that an earlier
        layer holds as well.
      macs: Multiply-accumulates of all calls for one image, without those of the layers inside of it.
    """

    name: str
    type: str
    output_shape: tuple[int | None, ...]
    parameters: int
    macs: int


@dataclasses.dataclass(frozen=True)
class MACCount:
    """Parameters and multiply-accumulates of a network.

    Attributes:
      layers: The layers that are called or hold weights, in the order of the model; a composite layer comes before
        what is inside of it, and only if it computes or holds something itself.
      parameters: Number of weights, BatchNorm statistics included: Keras's `model.count_params()`. In a .tflite, the
        elements of all constants but shapes and axes.
      trainable_parameters: Those that training changes; 0 in a .tflite.
      macs: Multiply-accumulates for one image.
    """

    layers: tuple[LayerCount, ...]
    parameters: int
    trainable_parameters: int
    macs: int

    def __str__(self) -> str:
        """Returns a table of the layers with weights or multiply-accumulates."""
        rows = [("layer", "type", "output", "parameters", "MACs")]
        rows += [
            (layer.name, layer.type, "x".join(map(str, layer.output_shape)), f"{layer.parameters:,}", f"{layer.macs:,}")
            for layer in self.layers
            if layer.parameters or layer.macs
        ]
        rows.append(("total", "", "", f"{self.parameters:,}", f"{self.macs:,}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if number < 3 else cell.rjust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )


def count_macs(model: Any, input_shape: Sequence[Any] | None = None) -> MACCount:
    """Counts parameters and multiply-accumulates (MACs) of a network in inference, for one image.

    A MAC is one multiplication with its addition in a convolution, dense layer or matrix product, also those of
    attention and recurrent layers. Positions in the padding count, since they are computed. BatchNorm, activations,
    pooling, resizing and other elementwise work count nothing, and neither does what depends on no input (it is
    computed once, when the model is converted) or on what no output depends. Of a branch that is chosen at run time,
    the dearest counts; a loop counts as often as it runs. Weights that two layers share are counted once, the MACs of
    every call.

    The operations of the model are counted and not the layers that are known: a layer of the user's own counts for
    what it computes. For the same reason the count is that of the .tflite which the model becomes, to the digit.

    Args:
      model: A built Keras model of any kind; or the path or the bytes of a .tflite.
      input_shape: Shape of the input without the batch dimension, where the model leaves it open; for several inputs
        a list of shapes, or a mapping from their names, as the model takes them.

    Raises:
      InputError: The model is not built, a dimension of an input is not known, the model cannot be called on such
        inputs, or it computes something whose MACs cannot be told: a loop that runs as often as its data say, a
        shape that depends on data, foreign code. A Keras backend other than TensorFlow.

    >>> import keras
    >>> inputs = keras.Input((8, 8, 3))
    >>> x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    >>> print(count_macs(keras.Model(inputs, keras.layers.Dense(2, name="dense")(x))))
    layer  type    output  parameters   MACs
    conv   Conv2D  6x6x4          112  3,888
    dense  Dense   6x6x2           10    288
    total                         122  4,176
    """
    if isinstance(model, (str, bytes, os.PathLike)):
        from keras_actnas.search.macs_tflite import tflite_layers

        if input_shape is not None:
            raise InputError("Expected no input_shape for a .tflite, which has its own. Received: one.")
        counts = tflite_layers(model)
        return _summed(counts, trainable_parameters=0)
    from keras_actnas.search.macs_keras import keras_layers

    counts, trainable_parameters = keras_layers(model, input_shape)
    return _summed(counts, trainable_parameters)


def _summed(layers: Sequence[LayerCount], trainable_parameters: int) -> MACCount:
    parameters = sum(layer.parameters for layer in layers)
    return MACCount(tuple(layers), parameters, trainable_parameters, sum(layer.macs for layer in layers))
