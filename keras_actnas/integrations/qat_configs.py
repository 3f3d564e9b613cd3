"""How each layer of a Keras 2 model is quantized. Importing this module imports TensorFlow and tfmot."""

from __future__ import annotations

from typing import Any

from keras_actnas.integrations import tf_keras_layers as ours
from keras_actnas.integrations.tf_keras_modules import tf_keras, tfmot

_layers, _tfmot = tf_keras().layers, tfmot().quantization.keras
_QuantizeConfig: Any = _tfmot.QuantizeConfig
_register = tf_keras().utils.register_keras_serializable(package="keras_actnas")


@_register
class NotQuantized(_QuantizeConfig):
    """For a layer that hands values on, whose range is that of what it reads."""

    def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
        """Returns none: these layers have no weights."""
        return []

    def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
        """Returns none: these layers have no `activation=`."""
        return []

    def set_quantize_weights(self, layer: Any, quantize_weights: Any) -> None:
        """Does nothing."""
        del layer, quantize_weights  # AutoGraph warns of a function whose body is a docstring alone.

    def set_quantize_activations(self, layer: Any, quantize_activations: Any) -> None:
        """Does nothing."""
        del layer, quantize_activations

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """Returns none."""
        return []

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {}


@_register
class QuantizedOutput(NotQuantized):
    """For a layer without weights whose output has a range of its own."""

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """Returns one quantizer: 8 bits, one asymmetric range for the whole tensor, as TFLite's int8 has."""
        quantizer = _tfmot.quantizers.MovingAverageQuantizer(
            num_bits=8, per_axis=False, symmetric=False, narrow_range=False
        )
        return [quantizer]


_WITH_OUTPUT = (
    *(_layers.Subtract, _layers.Multiply, _layers.Maximum, _layers.Minimum),
    *(ours.HardSwish, ours.Arithmetic, ours.MatMul),
)


def config_of(layer: Any) -> Any:
    """Returns the `QuantizeConfig` of a layer that tfmot does not know; None for one that it does."""
    if type(layer) is _layers.Concatenate:
        # tfmot's own way takes the ranges from what is joined, also where something else reads that.
        return QuantizedOutput()
    if type(layer) is ours.Split or (type(layer) is ours.Resize and layer.interpolation == "nearest"):
        return NotQuantized()
    return QuantizedOutput() if type(layer) in (*_WITH_OUTPUT, ours.Resize) else None


def is_known(layer: Any) -> bool:
    """Whether a layer can be trained for int8: a kind that tfmot knows, or one of `config_of`."""
    registry = _tfmot.default_8bit.Default8BitQuantizeRegistry()
    # tfmot makes these two of the layers around them.
    others = (_layers.InputLayer, _layers.BatchNormalization, _layers.SeparableConv2D)
    return type(layer) in others or config_of(layer) is not None or registry.supports(layer)
