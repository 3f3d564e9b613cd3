"""Layer scale: a learned factor for each channel of a residual branch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_actnas.core.checks import is_finite
from keras_actnas.core.errors import InputError
from keras_actnas.layers.channelwise import ChannelwiseActivation


@keras.saving.register_keras_serializable(package="keras_actnas")
class LayerScale(ChannelwiseActivation):
    """`f(x) = gamma * x` with one learned gamma for each channel, small at the start.

    From Touvron et al., "Going deeper with Image Transformers" (2021), section 2.1, as ConvNeXt has it at the end of
    each residual branch. The product is computed in float32 whatever the policy: float16 has no 1e-6. Right
    behind a convolution the layer is gone in a converted TFLite graph: the convolution takes up gamma.

    Input and output: floating-point tensors of one shape with a batch and a channel axis, of any rank.

    Args:
      initial: What every gamma starts with.
      shared_axes: As for `ACONA`.
      data_format: `"channels_last"` or `"channels_first"`; None for `keras.config.image_data_format()`.
      **kwargs: Arguments of every Keras layer: `name`, `dtype`, `trainable`.

    Raises:
      ValueError: `initial` is no finite number; or, when called, as for `ACONA`.

    >>> layer = LayerScale(0.5)
    >>> ops.convert_to_numpy(layer(ops.ones((1, 3)))).tolist(), [weight.name for weight in layer.weights]
    ([[0.5, 0.5, 0.5]], ['gamma'])
    """

    def __init__(
        self,
        initial: float = 1e-6,
        shared_axes: int | Sequence[int] | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not is_finite(initial):
            raise InputError(f"Expected initial to be a finite number. Received: {initial!r}.")
        start = keras.initializers.Constant(float(initial))
        super().__init__({"gamma": (start, None, None)}, shared_axes, data_format, **kwargs)
        self.initial = float(initial)

    def call(self, inputs: Any) -> Any:
        """Multiplies each channel by its gamma."""
        self.check_float(inputs)
        return ops.cast(ops.cast(inputs, self.gamma.dtype) * self.gamma, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config = super().get_config()
        for role in ("initializer", "regularizer", "constraint"):
            del config[f"gamma_{role}"]
        return {**config, "initial": self.initial}
