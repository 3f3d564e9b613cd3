"""What an activation function restructuring block is made of: its variant and the size of its parts."""

from __future__ import annotations

import dataclasses

from keras_actnas.core.errors import InputError

VARIANTS = (1, 2, 3)


@dataclasses.dataclass(frozen=True)
class Part:
    """One expansion, depthwise convolution and projection.

    Attributes:
      filters: Number of output channels.
      hidden: Number of channels between expansion and projection.
      strides: Stride of the depthwise convolution.
    """

    filters: int
    hidden: int
    strides: int


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The parts of a block, one behind the other, and whether its input is added to their output.

    From Bhardwaj et al., "Restructurable Activation Networks" (2022), figure 3. Variant 1 has no residual connection.
    Variant 2 has one. Variant 3 has one, too, over two parts with half the channels between them. Both of its parts
    expand to `expansion` times the channels of the block's input: so counted, the networks of the paper's table 1 have
    the multiply-accumulates that it prints.
    """

    variant: int
    parts: tuple[Part, ...]

    @property
    def residual(self) -> bool:
        """Whether the block's input is added to its output."""
        return self.variant != 1


def geometry(channels: int, filters: int, strides: int, expansion: float, variant: int | None, name: str) -> Geometry:
    """Returns what a block is made of.

    Args:
      channels: Number of input channels.
      filters: Number of output channels.
      strides: Stride, the same in both directions.
      expansion: Hidden channels as a multiple of the input channels, rounded.
      variant: 1, 2, 3; None for 2 where the shape of the output is that of the input, else 1.
      name: Name of the block, for messages.

    Raises:
      InputError: The variant needs a residual connection and the shapes do not allow one, or channels cannot be halved.

    >>> geometry(16, 16, 1, expansion=6, variant=None, name="block").variant
    2
    """
    hidden = round(expansion * channels)
    if hidden < 1:
        raise InputError(
            f"Expected an expansion of AFRB {name!r} that leaves hidden channels. "
            f"Received: {expansion!r} times {channels} channels."
        )
    keeps_shape = strides == 1 and channels == filters
    if variant is None:
        variant = 2 if keeps_shape else 1
    if variant != 1 and not keeps_shape:
        raise InputError(
            f"Expected strides=1 and as many filters as input channels for variant {variant} of AFRB {name!r}, whose "
            f"input is added to its output. Received: {channels} input channels, filters={filters}, "
            f"strides={strides}; use variant 1 (or None)."
        )
    if variant != 3:
        return Geometry(variant, (Part(filters, hidden, strides),))
    if filters % 2:
        raise InputError(
            f"Expected an even number of filters for variant 3 of AFRB {name!r}, which has half as many between its "
            f"parts. Received: filters={filters}."
        )
    return Geometry(variant, (Part(filters // 2, hidden, 1), Part(filters, hidden, 1)))
