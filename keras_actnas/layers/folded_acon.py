"""What is left of an ACON layer in a deployed network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_actnas.core.errors import InputError
from keras_actnas.layers.channelwise import ChannelwiseActivation

FACTORS = ("slope", "scale", "shift")
FORMS = ("multiply", "depthwise")


@keras.saving.register_keras_serializable(package="keras_actnas")
class FoldedACON(ChannelwiseActivation):
    """ACON for deployment: `f(y) = y * (scale * sigmoid(slope * y) + shift)`, each factor one number for each channel.

    `surgery.fold_acon` puts it in the place of ACON-A, ACON-B and ACON-C. ACON-C has the slope `beta (p1 - p2)`, the
    scale `p1 - p2` and the shift `p2`; factors that went into the neighbouring convolutions are left out, and cost
    nothing. The layer is meant for inference. Inputs, outputs and errors as for `ACONA`.

    Args:
      factors: Which of `"slope"`, `"scale"` and `"shift"` the layer has. Slope and scale start at 1, shift at 0.
      form: How a number for each channel is applied: `"multiply"` broadcasts, `"depthwise"` is a 1x1 depthwise
        convolution, which some NPUs run much faster (and which applies scale and shift at once). Images only.
      shared_axes: As for `ACONA`.
      data_format: As for `ACONA`.
      **kwargs: Arguments of every Keras layer: `name`, `dtype`, `trainable`.

    >>> layer = FoldedACON(factors=("shift",))
    >>> layer(keras.ops.ones((1, 4, 4, 3))).shape == (1, 4, 4, 3), [weight.name for weight in layer.weights]
    (True, ['shift'])
    """

    def __init__(
        self,
        factors: Sequence[str] = FACTORS,
        form: str = "multiply",
        shared_axes: int | Sequence[int] | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(factors, str) or not set(factors) <= set(FACTORS):
            raise InputError(f"Expected factors among {', '.join(FACTORS)}. Received: {factors!r}.")
        if form not in FORMS:
            raise InputError(f"Expected form 'multiply' or 'depthwise'. Received: {form!r}.")
        starts = {"slope": "ones", "scale": "ones", "shift": "zeros"}
        parameters = {name: (starts[name], None, None) for name in FACTORS if name in factors}
        super().__init__(parameters, shared_axes, data_format, **kwargs)
        self.factors = tuple(parameters)
        self.form = form

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Adds the factors."""
        super().build(input_shape)
        if self.form == "depthwise" and (len(input_shape) != 4 or self.shared_axes is not None):
            raise InputError(
                f"Expected images (4-D inputs) and no shared_axes for form='depthwise' of FoldedACON {self.name!r}. "
                f"Received: inputs of shape {tuple(input_shape)}, shared_axes={self.shared_axes!r}."
            )

    def call(self, inputs: Any) -> Any:
        """Applies the activation."""
        self.check_float(inputs)
        own = {name: ops.cast(getattr(self, name), inputs.dtype) for name in self.factors}
        gate = ops.sigmoid(self._affine(inputs, own.get("slope"), None))
        return inputs * self._affine(gate, own.get("scale"), own.get("shift"))

    def _affine(self, x: Any, scale: Any, shift: Any) -> Any:
        """Returns `x * scale + shift`, of which the layer may have neither."""
        if self.form == "depthwise" and (scale is not None or shift is not None):
            kernel = ops.ones_like(shift) if scale is None else scale
            x = ops.depthwise_conv(x, ops.reshape(kernel, (1, 1, -1, 1)), data_format=self.data_format)
        elif scale is not None:
            x = x * scale
        return x if shift is None else x + shift

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config = {**super().get_config(), "factors": list(self.factors), "form": self.form}
        for name in self.factors:  # How they start cannot be chosen.
            for role in ("initializer", "regularizer", "constraint"):
                del config[f"{name}_{role}"]
        return config
