"""What a ConvNeXt is made of, as numbers: channels of its blocks, parameters and multiply-accumulates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from keras_actnas.core import InputError
from keras_actnas.core.checks import is_finite, is_whole
from keras_actnas.layers.partial_activation import check_linear_fraction, curved_channels, nearest

KERNEL = 7
"""Size of the depthwise convolutions."""

PATCHES = (4, 2)
"""Size and stride of the first stage's convolution in front, and of the other stages'."""


@dataclasses.dataclass(frozen=True)
class Block:
    """The channels of one ConvNeXt block: depthwise convolution, 1x1 convolution, activation, 1x1 convolution.

    Attributes:
      width: Channels of the block's input and output, w1.
      curved: Hidden channels with the activation.
      straight: Hidden channels without one.
      branch: Whether a 1x1 convolution from `width` to `width` channels lies beside the hidden channels.
      branch_curved: Whether that convolution has an activation.
    """

    width: int
    curved: int
    straight: int = 0
    branch: bool = False
    branch_curved: bool = False

    @property
    def weights(self) -> int:
        """Number of weights of the convolutions, which are also the multiply-accumulates for each pixel."""
        pointwise = 2 * self.width * (self.curved + self.straight) + self.branch * self.width**2
        return KERNEL**2 * self.width + pointwise

    @property
    def biases(self) -> int:
        """Number of weights of everything else but layer scale: biases, and two of the normalization."""
        return (4 + self.branch) * self.width + self.curved + self.straight

    @property
    def units(self) -> int:
        """Number of channels with an activation."""
        return self.curved + self.branch_curved * self.width


@dataclasses.dataclass(frozen=True)
class ConvNeXtConfig:
    """The structure of a ConvNeXt; without arguments that of ConvNeXt-T, from which the paper scales.

    Attributes are the arguments of the same name of `ConvNeXt`: `ConvNeXt(**dataclasses.asdict(config))` builds it.

    Raises:
      InputError: A value cannot be used.

    >>> config = ConvNeXtConfig()
    >>> config.parameters(), config.macs()
    (28589128, 4455531264)
    """

    widths: tuple[int, ...] = (96, 192, 384, 768)
    depths: tuple[int, ...] = (3, 3, 9, 3)
    expansion: float = 4.0
    linear_fraction: float = 0.0
    linear_activation: str | None = None
    restructured: bool = True
    layer_scale: float | None = 1e-6
    input_shape: tuple[int, int, int] = (224, 224, 3)
    num_classes: int = 1000

    def __post_init__(self) -> None:
        widths, depths = check_stages(self.widths, self.depths)
        shape = whole_numbers("input_shape", self.input_shape)
        for name, value in (("widths", widths), ("depths", depths), ("input_shape", shape)):
            object.__setattr__(self, name, value)
        if not is_finite(self.expansion) or self.expansion <= 0:
            raise InputError(f"Expected expansion to be a number above 0. Received: {self.expansion!r}.")
        check_linear_fraction(self.linear_fraction)
        if self.linear_activation is not None and not (self.linear_fraction and self.restructured):
            raise InputError(
                "Expected linear_activation=None where there is no linear branch. "
                f"Received: {self.linear_activation!r}; a `linear_fraction` above 0 with `restructured=True` makes one."
            )
        if self.layer_scale is not None and not is_finite(self.layer_scale):
            raise InputError(f"Expected layer_scale to be a number or None. Received: {self.layer_scale!r}.")
        if not is_whole(self.num_classes) or self.num_classes < 1:
            raise InputError(f"Expected num_classes to be an integer of at least 1. Received: {self.num_classes!r}.")
        least = PATCHES[0] * PATCHES[1] ** (len(self.widths) - 1)
        if len(self.input_shape) != 3 or min(self.input_shape[:2]) < least:
            raise InputError(
                f"Expected input_shape as (height, width, channels), at least ({least}, {least}, 1) for "
                f"{len(self.widths)} stages. Received: {self.input_shape}."
            )

    def block(self, width: int) -> Block:
        """Returns a block of the given width."""
        hidden = max(1, nearest(self.expansion * width))
        curved = curved_channels(hidden, self.linear_fraction)
        if self.restructured and curved < hidden:
            return Block(width, curved, 0, True, self.linear_activation is not None)
        return Block(width, curved, hidden - curved)

    def blocks(self) -> list[Block]:
        """Returns all blocks, the first one first."""
        return [self.block(width) for width, depth in zip(self.widths, self.depths, strict=True) for _ in range(depth)]

    def parameters(self) -> int:
        """Returns the number of parameters."""
        total = (self.widths[-1] + 1) * self.num_classes + 2 * self.widths[-1]
        for stage in self._stages():
            # The normalization lies behind the convolution in the first stage, and in front of it in the others.
            norm = 2 * (stage.width if stage.first else stage.channels)
            block, scale = self.block(stage.width), stage.width * (self.layer_scale is not None)
            total += stage.patch**2 * stage.channels * stage.width + stage.width + norm
            total += stage.depth * (block.weights + block.biases + scale)
        return total

    def macs(self) -> int:
        """Returns the multiply-accumulates of the convolutions and the classifier for one image.

        Those of normalizations, activations, layer scale and additions are not counted.
        """
        total = self.widths[-1] * self.num_classes
        for stage in self._stages():
            in_front = stage.patch**2 * stage.channels * stage.width
            total += stage.pixels * (in_front + stage.depth * self.block(stage.width).weights)
        return total

    def _stages(self) -> Iterator[_Stage]:
        height, width, channels = self.input_shape
        for index, (own, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            patch = PATCHES[min(index, 1)]
            height, width = height // patch, width // patch
            yield _Stage(index == 0, own, depth, patch, channels, height * width)
            channels = own


@dataclasses.dataclass(frozen=True)
class _Stage:
    """A stage: `depth` blocks of `width` channels on `pixels`, and the convolution in front of them."""

    first: bool
    width: int
    depth: int
    patch: int
    channels: int
    pixels: int


def check_stages(
    widths: Sequence[int], depths: Sequence[int], name: str = "depths"
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns widths and depths as tuples; raises `InputError` unless they are one positive integer for each stage.

    Args:
      widths: Channels of each stage.
      depths: Another number for each stage.
      name: What `depths` is, for the message.
    """
    checked = whole_numbers("widths", widths), whole_numbers(name, depths)
    if len(checked[0]) != len(checked[1]):
        raise InputError(
            f"Expected as many widths as {name}, one each for every stage. Received: {checked[0]} and {checked[1]}."
        )
    return checked


def whole_numbers(name: str, values: Any) -> tuple[int, ...]:
    """Returns a tuple; raises `InputError` unless the values are positive integers, at least one."""
    numbers = tuple(values) if isinstance(values, Sequence) and not isinstance(values, str) else ()
    if not numbers or not all(is_whole(number) and number > 0 for number in numbers):
        raise InputError(f"Expected {name} to be integers of at least 1, such as (96, 192). Received: {values!r}.")
    return tuple(int(number) for number in numbers)
