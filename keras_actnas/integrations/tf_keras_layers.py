"""What the models here use and Keras 2 has no layer for. Importing this module imports TensorFlow and `tf_keras`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_actnas.integrations.tf_keras_modules import tf_keras

_Layer: Any = tf_keras().layers.Layer
_register = tf_keras().utils.register_keras_serializable(package="keras_actnas")
_ARITHMETIC = {"add": tf.add, "subtract": tf.subtract, "multiply": tf.multiply, "divide": tf.divide}


@_register
class HardSwish(_Layer):
    """`x * relu6(x + 3) / 6` (Howard et al., "Searching for MobileNetV3", 2019, section 5.2), one TFLite operator."""

    def call(self, inputs: Any) -> Any:
        """Applies the activation."""
        return inputs * tf.nn.relu6(inputs + 3.0) * (1.0 / 6.0)


@_register
class Resize(_Layer):
    """Images in another size.

    Args:
      size: (height, width).
      interpolation: As in `tf.image.resize`.
      **kwargs: Arguments of every Keras layer.
    """

    def __init__(self, size: Sequence[int], interpolation: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.interpolation = tuple(size), interpolation

    def call(self, inputs: Any) -> Any:
        """Resizes images of shape (batch, height, width, channels)."""
        return tf.image.resize(inputs, self.size, self.interpolation)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "size": self.size, "interpolation": self.interpolation}


@_register
class Split(_Layer):
    """A tensor in parts.

    Args:
      sizes: Size of each part along the axis.
      axis: The axis.
      **kwargs: Arguments of every Keras layer.
    """

    def __init__(self, sizes: Sequence[int], axis: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sizes, self.axis = list(sizes), axis

    def call(self, inputs: Any) -> Any:
        """Returns the list of parts: equal ones by the operator SPLIT, which more targets run than SPLIT_V."""
        return tf.split(inputs, len(self.sizes) if len(set(self.sizes)) == 1 else self.sizes, self.axis)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "sizes": self.sizes, "axis": self.axis}


@_register
class MatMul(_Layer):
    """The matrix product of two tensors."""

    def call(self, inputs: Any) -> Any:
        """Multiplies the last two axes of both."""
        return tf.matmul(*inputs)


@_register
class Arithmetic(_Layer):
    """A tensor and a constant, added, subtracted, multiplied or divided.

    Args:
      function: "add", "subtract", "multiply" or "divide".
      value: The constant, a number or an array.
      reverse: Whether the constant comes first.
      **kwargs: Arguments of every Keras layer.
    """

    def __init__(self, function: str, value: Any, reverse: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function, self.reverse = function, reverse
        self.value = np.asarray(value, np.float32)

    def call(self, inputs: Any) -> Any:
        """Computes it."""
        pair = (self.value, inputs) if self.reverse else (inputs, self.value)
        return _ARITHMETIC[self.function](*pair)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        own = {"function": self.function, "value": self.value.tolist(), "reverse": self.reverse}
        return {**super().get_config(), **own}
