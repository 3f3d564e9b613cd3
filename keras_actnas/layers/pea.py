"""Progressive ensemble activations (PEA): layers that begin training as a smooth activation and end it as ReLU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_actnas.core.activations import canonical_name
from keras_actnas.core.errors import InputError
from keras_actnas.layers.elementwise import ElementwiseLayer
from keras_actnas.layers.ensembles import chosen, weighted
from keras_actnas.layers.named import activation_function


def check_alpha(alpha: Any) -> float:
    """Returns a coefficient as a float; raises `InputError` unless it is a number from 0 to 1."""
    try:
        value = float(alpha)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value <= 1:  # Not true of NaN, either.
        raise InputError(f"Expected alpha to be a number from 0 to 1. Received: {alpha!r}.")
    return value


class ProgressiveEnsemble(ElementwiseLayer):
    """Base of both variants: an activation, ReLU, and the coefficient alpha that says how much of it is ReLU.

    Args:
      activation: Name of the activation at alpha = 0, or a function of a tensor that Keras can serialize.
      alpha: Coefficient to start with.
      **kwargs: Arguments of every Keras layer: `name`, `dtype`, `trainable`.
    """

    def __init__(self, activation: str | Callable[[Any], Any] = "swish", alpha: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = _activation(activation)
        self._start = check_alpha(alpha)
        self._weighted = weighted(self.activation)

    def build(self, input_shape: Any) -> None:
        """Adds alpha, which is a weight that no optimizer changes: it is saved with the model."""
        self._alpha = self.add_weight(
            shape=(),
            name="alpha",
            initializer=keras.initializers.Constant(self._start),
            trainable=False,
            autocast=False,
        )

    @property
    def alpha(self) -> Any:
        """Coefficient of ReLU, from 0 to 1: a float before the layer is built, then a variable. Can be set."""
        return self._alpha if self.built else self._start

    @alpha.setter
    def alpha(self, value: float) -> None:
        value = check_alpha(value)
        if self.built:
            self._alpha.assign(value)
        else:
            self._start = value

    def alpha_value(self) -> float:
        """Returns alpha as a number."""
        return float(ops.convert_to_numpy(self.alpha))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor; alpha is the one at the start."""
        # A function as a dictionary: its bare name might be that of another activation.
        own = self.activation
        written = own if isinstance(own, str) else keras.saving.serialize_keras_object(own)
        return {**super().get_config(), "activation": written, "alpha": self._start}


@keras.saving.register_keras_serializable(package="keras_actnas")
class WeightedPEA(ProgressiveEnsemble):
    """Weighted ensemble: `f(x) = alpha * relu(x) + (1 - alpha) * activation(x)`.

    From Utasi, "PEA" (2023), section 3.1, equation (1). Alpha is not learned; `callbacks.PEAScheduler` raises it from 0
    to 1 while `fit` runs, and `surgery.strip_pea` then leaves a plain ReLU network.

    Input and output: floating-point tensors of one shape, of any rank. The layer also serves as the `activation=`
    argument of a convolution or dense layer.

    Args:
      activation: The activation at alpha = 0: a name (the paper's are `"gelu"`, `"swish"` and `"mish"`) or a function
        of a tensor.
      alpha: Coefficient of ReLU to start with, from 0 to 1. The attribute of the same name can be set.
      **kwargs: Arguments of every Keras layer: `name`, `dtype`, `trainable`.

    Raises:
      ValueError: The activation is unknown or has weights, alpha is not in [0, 1], or inputs are not floating-point
        numbers.

    >>> layer = WeightedPEA("gelu", alpha=1.0)
    >>> keras.ops.convert_to_numpy(layer(keras.ops.array([-1.0, 2.0]))).tolist()
    [0.0, 2.0]
    """

    def __init__(self, activation: str | Callable[[Any], Any] = "swish", alpha: float = 0.0, **kwargs: Any) -> None:
        super().__init__(activation, alpha, **kwargs)
        self._lean_weighted = weighted(self.activation, keep_little=True)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Applies the ensemble."""
        self.check_float(inputs)
        function = self._lean_weighted if training else self._weighted
        return function(inputs, ops.cast(ops.copy(self._alpha), inputs.dtype))


@keras.saving.register_keras_serializable(package="keras_actnas")
class StochasticPEA(ProgressiveEnsemble):
    """Stochastic ensemble: each element passes through ReLU with probability alpha, else through the activation.

    From Utasi, "PEA" (2023), section 3.2, equation (3), drawn anew for each element and step, as in dropout. Only
    training draws: in inference the layer computes the expectation, `alpha * relu(x) + (1 - alpha) * activation(x)`,
    so validation before the end of the transition is not random. At alpha = 0 and alpha = 1 nothing is random.

    Args:
      activation: As for `WeightedPEA`.
      seed: Integer for runs that repeat; None for a random one.
      alpha: As for `WeightedPEA`.
      **kwargs: Arguments of every Keras layer: `name`, `dtype`, `trainable`.

    Raises:
      ValueError: As for `WeightedPEA`.

    >>> layer = StochasticPEA("swish", seed=1, alpha=1.0)
    >>> keras.ops.convert_to_numpy(layer(keras.ops.array([-1.0, 2.0]), training=True)).tolist()
    [0.0, 2.0]
    """

    def __init__(
        self,
        activation: str | Callable[[Any], Any] = "swish",
        seed: int | None = None,
        alpha: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(activation, alpha, **kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._chosen = chosen(self.activation)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Applies the ensemble; draws if `training`."""
        self.check_float(inputs)
        alpha = ops.copy(self._alpha)
        if not training:
            return self._weighted(inputs, ops.cast(alpha, inputs.dtype))
        # In float32 whatever the policy: a half-precision number below 1 would often round to 1.
        drawn = keras.random.uniform(ops.shape(inputs), dtype="float32", seed=self.seed_generator)
        return self._chosen(inputs, drawn < ops.cast(alpha, "float32"))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor; alpha is the one at the start."""
        return {**super().get_config(), "seed": self.seed}


def pea_layers(model: keras.Model) -> list[ProgressiveEnsemble]:
    """Returns the PEA layers of a model, also those inside of nested models and `activation=` arguments, once each."""
    found = {id(layer): layer for layer in model._flatten_layers() if isinstance(layer, ProgressiveEnsemble)}
    return list(found.values())


def _activation(activation: Any) -> Any:
    """Returns a canonical name, or a function as it is."""
    if isinstance(activation, str):
        name = canonical_name(activation)
        activation_function(name)  # Refuses an activation with weights.
        return name
    is_written = isinstance(activation, dict)
    function = keras.saving.deserialize_keras_object(activation) if is_written else activation
    if not callable(function) or isinstance(function, keras.Layer):
        raise InputError(f"Expected the name of an activation, or a function of a tensor. Received: {activation!r}.")
    return function
