"""ACON-A, ACON-B and ACON-C: smooth maxima of two linear functions with learnable parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_actnas.layers import acon_functions
from keras_actnas.layers.channelwise import ChannelwiseActivation


def normal() -> keras.initializers.Initializer:
    """Returns a new N(0, 1) initializer, with which the authors of ACON start p1 and p2."""
    return keras.initializers.RandomNormal(mean=0.0, stddev=1.0)


@keras.saving.register_keras_serializable(package="keras_actnas")
class ACONA(ChannelwiseActivation):
    """ACON-A, which is Swish with a learnable factor: `f(x) = x * sigmoid(beta * x)`.

    From Ma, Zhang, Sun, "Activate or Not" (2021), section 3. As with all layers of this package, loading a `.keras`
    file with this layer needs `import keras_actnas.layers` first.

    Input and output: floating-point tensors of one shape with a batch and a channel axis, of any rank. The layer also
    serves as the `activation=` argument of a convolution or dense layer; Keras then makes its parameters when the model
    first runs (in `fit`, or when it is called), so call the model once before you save it, load weights or count them.

    Args:
      beta_initializer: Initializer of beta, 1 by default: the layer starts as SiLU.
      beta_regularizer: Regularizer of beta.
      beta_constraint: Constraint of beta.
      shared_axes: Axes (1 is the first after the batch) along which parameters are shared, as in
        `keras.layers.PReLU`; None for one number for each channel, an empty list for no sharing.
      data_format: `"channels_last"` or `"channels_first"`; None for `keras.config.image_data_format()`.
      **kwargs: Arguments of every Keras layer: `name`, `dtype`, `trainable`.

    Raises:
      ValueError: When called, on inputs that are not floating-point numbers, have no channel axis, or have an unknown
        size along an axis with parameters of its own.

    >>> layer = ACONA()
    >>> layer(keras.ops.ones((1, 4, 4, 3))).shape == (1, 4, 4, 3), tuple(layer.beta.shape)
    (True, (1, 1, 3))
    """

    def __init__(
        self,
        beta_initializer: Any = "ones",
        beta_regularizer: Any = None,
        beta_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        parameters = {"beta": (beta_initializer, beta_regularizer, beta_constraint)}
        super().__init__(parameters, shared_axes, data_format, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Applies the activation, element by element."""
        self.check_float(inputs)
        function = acon_functions.lean_acon_a if training else acon_functions.acon_a
        return function(inputs, *self.tensors())


@keras.saving.register_keras_serializable(package="keras_actnas")
class ACONB(ChannelwiseActivation):
    """ACON-B, a smooth PReLU: `f(x) = (1 - p) * x * sigmoid(beta * (1 - p) * x) + p * x`.

    From Ma, Zhang, Sun, "Activate or Not" (2021), equation (3). Inputs, outputs and errors as for `ACONA`.

    Args:
      p_initializer: Initializer of p, the slope for negative inputs; None for the paper's 0.25.
      beta_initializer: Initializer of beta, 1 by default.
      p_regularizer: Regularizer of p.
      beta_regularizer: Regularizer of beta.
      p_constraint: Constraint of p.
      beta_constraint: Constraint of beta.
      shared_axes: As for `ACONA`.
      data_format: As for `ACONA`.
      **kwargs: Arguments of every Keras layer: `name`, `dtype`, `trainable`.

    >>> layer = ACONB()
    >>> layer(keras.ops.ones((1, 3))).shape == (1, 3), keras.ops.convert_to_numpy(layer.p).tolist()
    (True, [0.25, 0.25, 0.25])
    """

    def __init__(
        self,
        p_initializer: Any = None,
        beta_initializer: Any = "ones",
        p_regularizer: Any = None,
        beta_regularizer: Any = None,
        p_constraint: Any = None,
        beta_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        start = keras.initializers.Constant(0.25) if p_initializer is None else p_initializer
        parameters = {
            "p": (start, p_regularizer, p_constraint),
            "beta": (beta_initializer, beta_regularizer, beta_constraint),
        }
        super().__init__(parameters, shared_axes, data_format, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Applies the activation, element by element."""
        self.check_float(inputs)
        function = acon_functions.lean_acon_b if training else acon_functions.acon_b
        return function(inputs, *self.tensors())


@keras.saving.register_keras_serializable(package="keras_actnas")
class ACONC(ChannelwiseActivation):
    """ACON-C: `f(x) = (p1 - p2) * x * sigmoid(beta * (p1 - p2) * x) + p2 * x`.

    From Ma, Zhang, Sun, "Activate or Not" (2021), equation (4). The function is the same with p1 and p2 exchanged. For
    beta > 0 the slope tends to the larger of them on the right and to the smaller on the left (equation 6), and lies
    between `1.0998 * smaller - 0.0998 * larger` and `1.0998 * larger - 0.0998 * smaller` (equation 8). With beta = 0
    the layer is linear, `(p1 + p2) / 2 * x`; a large beta gives `max(p1 * x, p2 * x)`; p1 = 1 and p2 = 0 is Swish.
    `ACON` is another name of this class. Inputs, outputs and errors as for `ACONA`.

    Start as Swish, with `p1_initializer="ones", p2_initializer="zeros"`, in a trained network and where training is
    short: there it was better by half a point of accuracy than the authors' random start (docs/evidence.md).

    Args:
      p1_initializer: Initializer of p1; None for N(0, 1), as the authors have it.
      p2_initializer: Initializer of p2; None for N(0, 1).
      beta_initializer: Initializer of beta, 1 by default.
      p1_regularizer: Regularizer of p1.
      p2_regularizer: Regularizer of p2.
      beta_regularizer: Regularizer of beta.
      p1_constraint: Constraint of p1.
      p2_constraint: Constraint of p2.
      beta_constraint: Constraint of beta.
      shared_axes: As for `ACONA`.
      data_format: As for `ACONA`.
      **kwargs: Arguments of every Keras layer: `name`, `dtype`, `trainable`.

    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), ACONC()])
    >>> [tuple(weight.shape) for weight in model.layers[1].weights]
    [(1, 1, 4), (1, 1, 4), (1, 1, 4)]
    """

    def __init__(
        self,
        p1_initializer: Any = None,
        p2_initializer: Any = None,
        beta_initializer: Any = "ones",
        p1_regularizer: Any = None,
        p2_regularizer: Any = None,
        beta_regularizer: Any = None,
        p1_constraint: Any = None,
        p2_constraint: Any = None,
        beta_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        parameters = {
            "p1": (normal() if p1_initializer is None else p1_initializer, p1_regularizer, p1_constraint),
            "p2": (normal() if p2_initializer is None else p2_initializer, p2_regularizer, p2_constraint),
            "beta": (beta_initializer, beta_regularizer, beta_constraint),
        }
        super().__init__(parameters, shared_axes, data_format, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Applies the activation, element by element."""
        self.check_float(inputs)
        function = acon_functions.lean_acon_c if training else acon_functions.acon_c
        return function(inputs, *self.tensors())


ACON = ACONC
