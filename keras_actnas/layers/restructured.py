"""What an AFRB becomes: an inverted bottleneck, or a convolution behind an activation, of Keras's own layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_actnas.layers.afrb_geometry import Part, geometry
from keras_actnas.layers.named import activation_layer


class RestructuredBlock:
    """The layers that an AFRB of the same arguments becomes, to be applied to a symbolic tensor.

    From Bhardwaj et al., "Restructurable Activation Networks" (2022), figures 2(c), 2(d) and 3. Each part of the block
    (see `Geometry`) is a chain of layers:

    - collapsed: batch normalization (`norm`), activation (`act`), convolution (`conv`);
    - else: 1x1 convolution (`expand`), depthwise convolution (`depthwise`), each with batch normalization
      (`expand_norm`) and activation (`expand_act`), 1x1 convolution (`project`) with batch normalization.

    A layer is named after its step, `<name>_<step>`, or `<name>_part1_<step>` and `<name>_part2_<step>` in a block of
    two parts; the addition of a residual connection is `<name>_add`.

    Args:
      channels: Number of input channels.
      filters: As for `AFRB`.
      kernel_size: Size of the depthwise convolution, or of the one convolution.
      strides: As for `AFRB`.
      expansion: As for `AFRB`; without effect if collapsed.
      variant: As for `AFRB`.
      collapsed: Whether each part is one convolution.
      activation: Name of the activation.
      name: Beginning of the layers' names.
      data_format: As for `AFRB`.
      momentum: As for `AFRB`.
      **kwargs: Arguments of every layer: `dtype`, `trainable`.

    Raises:
      InputError: The variant does not fit the shapes, or the activation is unknown.

    >>> inputs = keras.Input((8, 8, 4))
    >>> block = RestructuredBlock(4, 8, collapsed=True, name="stem")
    >>> [layer.name for layer in keras.Model(inputs, block(inputs)).layers[1:]]
    ['stem_norm', 'stem_act', 'stem_conv']
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel_size: int | Sequence[int] = 3,
        strides: int = 1,
        expansion: float = 6,
        variant: int | None = None,
        collapsed: bool = False,
        activation: str = "relu",
        *,
        name: str,
        data_format: str | None = None,
        momentum: float = 0.99,
        **kwargs: Any,
    ) -> None:
        self.data_format = keras.config.image_data_format() if data_format is None else data_format
        self.activation, self.kernel_size, self.momentum, self._kwargs = activation, kernel_size, momentum, kwargs
        self.geometry = geometry(channels, filters, strides, expansion, variant, name)
        make = self._convolution if collapsed else self._bottleneck
        # Not `<name>_1`: so Keras calls the second of two blocks without a name.
        prefixes = [name] if len(self.geometry.parts) == 1 else [f"{name}_part1", f"{name}_part2"]
        self.parts = [make(part, prefix) for part, prefix in zip(self.geometry.parts, prefixes, strict=True)]
        """For each part, step -> layer, in the order in which they are applied."""
        self._add = keras.layers.Add(name=f"{name}_add", **kwargs) if self.geometry.residual else None

    def __call__(self, inputs: Any) -> Any:
        """Applies the layers."""
        x = inputs
        for part in self.parts:
            for layer in part.values():
                x = layer(x)
        return self._add([x, inputs]) if self._add else x

    def _convolution(self, part: Part, prefix: str) -> dict[str, keras.Layer]:
        own = {"data_format": self.data_format, "name": f"{prefix}_conv", **self._kwargs}
        return {
            "norm": self._norm(f"{prefix}_norm"),
            "act": self._act(f"{prefix}_act"),
            "conv": keras.layers.Conv2D(part.filters, self.kernel_size, part.strides, padding="same", **own),
        }

    def _bottleneck(self, part: Part, prefix: str) -> dict[str, keras.Layer]:
        own = {"use_bias": False, "data_format": self.data_format, **self._kwargs}
        spatial = {"strides": part.strides, "padding": "same", **own}
        return {
            "expand": keras.layers.Conv2D(part.hidden, 1, name=f"{prefix}_expand", **own),
            "expand_norm": self._norm(f"{prefix}_expand_norm"),
            "expand_act": self._act(f"{prefix}_expand_act"),
            "depthwise": keras.layers.DepthwiseConv2D(self.kernel_size, name=f"{prefix}_depthwise", **spatial),
            "depthwise_norm": self._norm(f"{prefix}_depthwise_norm"),
            "depthwise_act": self._act(f"{prefix}_depthwise_act"),
            "project": keras.layers.Conv2D(part.filters, 1, name=f"{prefix}_project", **own),
            "project_norm": self._norm(f"{prefix}_project_norm"),
        }

    def _norm(self, name: str) -> keras.Layer:
        axis = -1 if self.data_format == "channels_last" else 1
        return keras.layers.BatchNormalization(axis, self.momentum, name=name, **self._kwargs)

    def _act(self, name: str) -> keras.Layer:
        return activation_layer(self.activation, data_format=self.data_format, name=name, **self._kwargs)
