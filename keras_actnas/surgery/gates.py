"""Gates: activations that compute a factor in [0, 1] and must keep their shape."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_actnas.surgery.graph import Graph, producer

_SCALINGS = ("Multiply", "Divide", "TrueDivide", "Rescaling")


def is_gate(graph: Graph, layer: Any) -> bool:
    """Returns whether a ReLU6 is the clipping of a hard sigmoid written out, `relu6(x + 3) * (1 / 6)`.

    That is how `keras.applications.MobileNetV3Small` and `MobileNetV3Large` gate their squeeze-excite blocks; with any
    other activation the block no longer scales its input by a factor between 0 and 1. It is told from an ordinary
    ReLU6 by its neighbours: its input adds a constant number to one tensor, and nothing reads its output but
    multiplications and divisions (by a constant, or by the tensor that is gated).

    Args:
      graph: The graph that the layer is called in.
      layer: A layer that applies a ReLU6.
    """
    return any(_clips_a_shift(call) and _is_only_scaled(graph, call) for call in graph.calls(layer))


def _clips_a_shift(call: Any) -> bool:
    before = producer(call.input_tensors[0])
    if type(before.operation).__name__ != "Add":
        return False
    values = keras.tree.flatten((before.arguments.args, before.arguments.kwargs))
    constants = [value for value in values if not isinstance(value, keras.KerasTensor) and value is not None]
    return len(constants) == 1 and np.ndim(constants[0]) == 0


def _is_only_scaled(graph: Graph, call: Any) -> bool:
    readers = [reader for tensor in call.outputs for reader in graph.readers(tensor)]
    return bool(readers) and all(type(reader.operation).__name__ in _SCALINGS for reader in readers)
