"""What all activation layers have in common: floating-point inputs, outputs of the same shape, masks that pass."""

from __future__ import annotations

from typing import Any

import keras

from keras_actnas.core.errors import InputError


class ElementwiseLayer(keras.Layer):
    """Base of layers whose output has the shape of their floating-point input."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def check_float(self, inputs: Any) -> None:
        """Raises `InputError` unless the inputs, tensors or symbolic ones, are floating-point numbers."""
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if not keras.backend.is_float_dtype(dtype):
            raise InputError(
                f"Expected floating-point inputs of {type(self).__name__} {self.name!r}. Received: {dtype}; cast them "
                "first, for example with `keras.ops.cast(x, 'float32')` or a `keras.layers.Rescaling` layer."
            )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the output: the input's."""
        return input_shape

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the symbolic output, of the input's shape and the layer's compute dtype."""
        self.check_float(inputs)
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
