"""Activation layers with parameters for each channel: what ACON-A, ACON-B, ACON-C and meta-ACON have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_actnas.core.checks import is_whole
from keras_actnas.core.errors import InputError
from keras_actnas.layers.elementwise import ElementwiseLayer


class ChannelwiseActivation(ElementwiseLayer):
    """Base of activation layers whose parameters are, by default, one number for each channel.

    Args:
      parameters: Parameter name -> (initializer, regularizer, constraint), as the subclass received them. Each becomes
        the attributes `<name>_initializer`, `<name>_regularizer`, `<name>_constraint` and, once built, the weight
        `<name>`.
      shared_axes: Axes (1 is the first after the batch) along which parameters are shared, as in
        `keras.layers.PReLU`; None for all but the channels, an empty list for none.
      data_format: `"channels_last"` or `"channels_first"`; None for `keras.config.image_data_format()`.
      **kwargs: Arguments of every Keras layer: `name`, `dtype`, `trainable`.
    """

    def __init__(
        self,
        parameters: Mapping[str, tuple[Any, Any, Any]],
        shared_axes: int | Sequence[int] | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = keras.config.image_data_format() if data_format is None else data_format
        if self.data_format not in ("channels_last", "channels_first"):
            raise InputError(f"Expected data_format 'channels_last' or 'channels_first'. Received: {data_format!r}.")
        self.shared_axes = _axes(shared_axes)
        self._names = tuple(parameters)
        for name, (initializer, regularizer, constraint) in parameters.items():
            setattr(self, f"{name}_initializer", _initializer(name, initializer))
            setattr(self, f"{name}_regularizer", keras.regularizers.get(regularizer))
            setattr(self, f"{name}_constraint", keras.constraints.get(constraint))

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Adds the parameters."""
        shape = self.parameter_shape(input_shape)
        for name in self._names:
            weight = self.add_weight(
                shape=shape,
                name=name,
                initializer=getattr(self, f"{name}_initializer"),
                regularizer=getattr(self, f"{name}_regularizer"),
                constraint=getattr(self, f"{name}_constraint"),
                autocast=False,  # Their gradients are sums over a batch of images, too large for a half-precision sum.
            )
            setattr(self, name, weight)
        own = {axis: size for axis, size in enumerate(input_shape) if axis and shape[axis - 1] != 1}
        self.input_spec = keras.layers.InputSpec(ndim=len(input_shape), axes=own)

    def tensors(self) -> tuple[Any, ...]:
        """Returns the parameters as tensors, in order: TensorFlow's custom gradients take no variables."""
        return tuple(keras.ops.copy(getattr(self, name)) for name in self._names)

    def channel_axis(self, input_shape: Sequence[int | None]) -> int:
        """Returns the axis of the channels, counted from the batch."""
        if len(input_shape) < 2:
            raise InputError(
                f"Expected inputs of {type(self).__name__} {self.name!r} with a batch and a channel axis. "
                f"Received: shape {tuple(input_shape)}."
            )
        return 1 if self.data_format == "channels_first" else len(input_shape) - 1

    def parameter_shape(self, input_shape: Sequence[int | None]) -> tuple[int, ...]:
        """Returns the shape of each parameter: the input's without the batch, 1 along shared axes."""
        channels, rank = self.channel_axis(input_shape), len(input_shape)
        if self.shared_axes is None:
            shared = set(range(1, rank)) - {channels}
        else:
            shared = {axis + rank if axis < 0 else axis for axis in self.shared_axes}
            if not shared <= set(range(1, rank)):
                raise InputError(
                    f"Expected shared_axes of {type(self).__name__} {self.name!r} between 1 and {rank - 1}, for inputs "
                    f"of shape {tuple(input_shape)}. Received: {self.shared_axes}."
                )
        unknown = [axis for axis in range(1, rank) if axis not in shared and input_shape[axis] is None]
        if unknown:
            raise InputError(
                f"Expected a known size of axis {unknown[0]}, along which {type(self).__name__} {self.name!r} has "
                f"parameters. Received: inputs of shape {tuple(input_shape)}; fix that dimension, share the parameters "
                "along it with `shared_axes`, or check `data_format`."
            )
        return tuple(1 if axis in shared else int(input_shape[axis] or 0) for axis in range(1, rank))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config = super().get_config()
        for name in self._names:
            initializer = getattr(self, f"{name}_initializer")
            config[f"{name}_initializer"] = keras.initializers.serialize(initializer)
            config[f"{name}_regularizer"] = keras.regularizers.serialize(getattr(self, f"{name}_regularizer"))
            config[f"{name}_constraint"] = keras.constraints.serialize(getattr(self, f"{name}_constraint"))
        return {**config, "shared_axes": self.shared_axes, "data_format": self.data_format}


def _axes(shared_axes: Any) -> list[int] | None:
    if shared_axes is None:
        return None
    axes = [shared_axes] if np.ndim(shared_axes) == 0 else list(shared_axes)
    if not all(map(is_whole, axes)):
        raise InputError(f"Expected shared_axes to be axes, such as [1, 2], or None. Received: {shared_axes!r}.")
    return [int(axis) for axis in axes]


def _initializer(name: str, initializer: Any) -> Any:
    initializer = keras.initializers.get(initializer)
    if isinstance(initializer, keras.initializers.Constant):
        _check_constant(name, initializer.value)
    if isinstance(initializer, keras.initializers.Initializer):
        # A random initializer gives the same numbers at every call: two parameters must not hold the same object.
        return initializer.clone()
    return initializer


def _check_constant(name: str, value: Any) -> None:
    values = keras.ops.convert_to_numpy(value).ravel().tolist()
    if not all(math.isfinite(number) for number in values):
        raise InputError(f"Expected finite start values of {name!r}. Received: {value!r}.")
