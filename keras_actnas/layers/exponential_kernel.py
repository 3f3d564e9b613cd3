"""The exponential kernel as an activation that training does not blow up."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_actnas.core.checks import is_finite
from keras_actnas.core.errors import InputError
from keras_actnas.layers.elementwise import ElementwiseLayer
from keras_actnas.layers.lean import lean

DEFAULT_THRESHOLD = 2.0


@keras.saving.register_keras_serializable(package="keras_actnas")
class ExponentialKernel(ElementwiseLayer):
    """`f(x) = exp(x)` up to a threshold t, and `exp(t) * (1 + log(1 + x - t))` beyond it.

    From Bhardwaj et al., "Restructurable Activation Networks" (2022), section 4, equation (8): behind a convolution
    that computes `<x, beta>` for each filter, `exp(<x, beta>)` operates in infinitely many dimensions. The paper finds
    that training with it often ends in NaN. The derivative of exp is its value, so one large value makes a large step,
    which makes a larger value, until it overflows: in float16 from 11.1 on. Here

    - for `x <= threshold` value and gradient are those of `exp`, exactly;
    - beyond, both go on continuously: the value grows like a logarithm, and the gradient `exp(t) / (1 + x - t)` falls,
      but is never 0. No input makes a larger step than the threshold does, and no growth of the weights makes features
      of another size: at x = 1000 the value is 8 times that at the threshold;
    - value and gradient are finite for all finite inputs, in float32, bfloat16 and float16.

    A tangent in the place of the logarithm has a bounded gradient, too, but unbounded features, and does not prevent
    NaN: `benchmarks/ran_scaling.py --stability` compares them, and thresholds. The default threshold is 2. Behind a
    layer normalization and with ConvNeXt's initialization (standard deviation 0.02) the inputs start with a standard
    deviation of `0.02 sqrt(w)` for w channels, at most 0.55 in ConvNeXt-T: 9,998 of 10,000 lie below 2, and training
    begins where the layer is `exp`. A higher threshold follows `exp` further, and stands smaller learning rates only.

    Input and output: floating-point tensors of one shape, of any rank. The layer has no weights, and also serves as
    the `activation=` argument of a convolution or dense layer.

    Args:
      threshold: Up to where the layer is `exp`.
      **kwargs: Arguments of every Keras layer: `name`, `dtype`, `trainable`.

    Raises:
      ValueError: The threshold is no finite number, or so large that the layer's compute dtype cannot hold all values;
        or, when called, inputs are not floating-point numbers.

    >>> layer = ExponentialKernel(threshold=0)
    >>> ops.convert_to_numpy(layer(ops.array([-100.0, 0.0, math.e - 1]))).round(4).tolist()
    [0.0, 1.0, 2.0]
    """

    def __init__(self, threshold: float = DEFAULT_THRESHOLD, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        limit = _limit(self.compute_dtype)
        if not is_finite(threshold) or threshold > limit:
            raise InputError(
                f"Expected threshold to be a number up to {limit:g}, with which {self.compute_dtype} holds all values. "
                f"Received: {threshold!r}."
            )
        self.threshold = float(threshold)
        self._lean_value = lean(self._value, self._gradients)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Applies the activation, element by element."""
        self.check_float(inputs)
        return self._lean_value(inputs) if training else self._value(inputs)

    def _value(self, x: Any) -> Any:
        # Up to the threshold the second factor is 1, which leaves the first exactly as it is.
        below, above = ops.minimum(x, self.threshold), ops.relu(x - self.threshold)
        return ops.exp(below) * (1 + ops.log(1 + above))

    def _gradients(self, upstream: Any, x: Any) -> tuple[Any]:
        below, above = ops.minimum(x, self.threshold), ops.relu(x - self.threshold)
        return (upstream * ops.exp(below) / (1 + above),)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "threshold": self.threshold}


def _limit(dtype: str) -> float:
    """Returns the largest threshold, in tenths, whose value for the largest input a type still holds."""
    largest = 65504.0 if dtype == "float16" else float(np.finfo("float32").max)
    return math.floor(10 * (math.log(largest) - math.log1p(math.log1p(largest)))) / 10
