"""NN-Mass: how much skip connections connect a network, and what that says of its expressivity, without training."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from keras_actnas.core.checks import is_finite, is_whole
from keras_actnas.core.errors import InputError
from keras_actnas.layers.partial_activation import PartialActivation, nearest
from keras_actnas.models.convnext_config import Block, ConvNeXtConfig, check_stages

Network = Any
"""A `ConvNeXtConfig`, a model that `ConvNeXt` built (also after surgery), or the `Cell` of each block."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One block as NN-Mass sees it (definition 1 of the paper, see `nn_mass`).

    Attributes:
      inputs: Input channels of all layers of the block together, i_b.
      skips: Links of the skip connections that are there. A connection has as many links as it carries channels.
      possible: Links of all skip connections that could be there.
      units: Number of channels with an activation.

    >>> Cell(inputs=96, skips=64, possible=144).mass
    42.666666666666664
    """

    inputs: int
    skips: int
    possible: int
    units: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.skips <= self.possible or self.possible == 0:
            raise InputError(
                f"Expected a cell with possible links, of which 0 or more are there. Received: {self.skips} of "
                f"{self.possible}; skip connections take three layers or more."
            )

    @property
    def density(self) -> float:
        """The share of the possible links that is there, rho_b."""
        return self.skips / self.possible

    @property
    def mass(self) -> float:
        """The NN-Mass of the block."""
        return self.inputs * self.skips / self.possible


def nn_mass(network: Network) -> float:
    """Returns the NN-Mass of a network.

    From Bhardwaj et al., "Restructurable Activation Networks" (2022), definition 1, equation (4): the sum over all
    blocks of the input channels of their layers, times the share of the possible skip connections that is there. A skip
    connection could lead from each tensor of a block to each later one but the next, and has as many links as it
    carries channels (figure 5). So, for blocks of w1 channels with w2 = e w1 channels inside,

    - a bottleneck of ResNet (tensors of w1, w2, w2, w1 channels) has `w1 (1 + 2 e) / (2 + e)`: equation (6);
    - a ConvNeXt block (w1, w1, w2, w1) has `w1 (2 + e) / 3`: three skips of w1 links are possible, one is there. Its
      e w1 non-linear units are `3 e / (2 + e)` times that, as the paper says without the derivation.

    Both are proportional to the number of non-linear units (proposition 3), hence to the logarithm of the largest
    number of linear regions. That is a statement about one kind of block: between kinds, compare `nonlinear_units`.
    The paper defines nothing for blocks with a linear branch (section 4): here the branch is one more layer of w1
    inputs, and no skip connection, because it has weights.

    Args:
      network: A `models.ConvNeXtConfig`, a model that `models.ConvNeXt` built, or cells (`resnet_cells`,
        `densenet_cells`, or the user's own).

    Raises:
      InputError: It is none of these.

    >>> nn_mass(ConvNeXtConfig()), nn_mass(resnet_cells((256, 512, 1024, 2048), (3, 4, 6, 3)))
    (13248.0, 10069.333333333332)
    """
    return math.fsum(cell.mass for cell in cells_of(network))


def nonlinear_units(network: Network) -> int:
    """Returns the number of non-linear units of a network, X: the channels of all activations.

    With ReLUs, 2^X bounds the number of linear regions (proposition 3), so X is the logarithm of that bound to base 2.
    As in the paper, a channel is one unit, whatever the number of pixels. Arguments and errors as for `nn_mass`.

    >>> nonlinear_units(ConvNeXtConfig()), nonlinear_units(ConvNeXtConfig(linear_fraction=0.4))
    (26496, 15900)
    """
    return sum(cell.units for cell in cells_of(network))


def log2_linear_regions(mass: float, width: int, inputs: int) -> float:
    """Returns the base-2 logarithm of how many linear regions a network can have at least, asymptotically.

    Corollary 1 of the paper: `(n / n0)^((m - n) n0 / n) n^n0` for n0 inputs, n channels in each layer, NN-Mass m. When
    n comes close to n0, the first factor does, too, to 1: NN-Mass matters less in narrow networks. It is proposition 2
    (Montufar et al. 2014) with L = m / n layers. By equation (6) with e = 1 that L counts blocks, so with the three
    layers that a bottleneck has the bound is a cautious one.

    Args:
      mass: NN-Mass.
      width: Channels of each layer, at least `inputs`.
      inputs: Number of inputs.

    Raises:
      InputError: The width is below the number of inputs, or the NN-Mass is below the width: less than a layer.

    >>> log2_linear_regions(mass=64, width=8, inputs=2), log2_linear_regions(mass=64, width=8, inputs=8)
    (34.0, 24.0)
    """
    if not (is_whole(width) and is_whole(inputs) and 1 <= inputs <= width):
        raise InputError(f"Expected a width of at least the number of inputs. Received: {width!r} and {inputs!r}.")
    if not is_finite(mass) or mass < width:
        raise InputError(f"Expected an NN-Mass of at least the width, {width}. Received: {mass!r}.")
    return inputs * ((mass / width - 1) * math.log2(width / inputs) + math.log2(width))


def resnet_cells(widths: Sequence[int], depths: Sequence[int], expansion: float = 0.25) -> list[Cell]:
    """Returns the blocks of a network of ResNet bottlenecks: 1x1, 3x3 and 1x1 convolutions, figure 5(a).

    Args:
      widths: Channels of the blocks' inputs and outputs, w1, for each stage.
      depths: Number of blocks of each stage.
      expansion: The 3x3 convolution's channels as a multiple of w1, e; rounded to whole channels.

    Raises:
      InputError: There are not as many widths as depths, or a value cannot be used.

    >>> len(resnet_cells((256, 512, 1024, 2048), (3, 4, 6, 3)))
    16
    """
    widths, depths = check_stages(widths, depths)
    if not is_finite(expansion) or expansion <= 0:
        raise InputError(f"Expected expansion to be a number above 0. Received: {expansion!r}.")
    cells = []
    for width, depth in zip(widths, depths, strict=True):
        middle = max(1, nearest(expansion * width))
        cells += [_residual((width, middle, middle, width), 2 * middle)] * depth
    return cells


def densenet_cells(widths: Sequence[int], depths: Sequence[int], links: Sequence[int]) -> list[Cell]:
    """Returns cells with concatenating skip connections, for which NN-Mass was made.

    From Bhardwaj et al., "How does topology influence gradient propagation and model performance of deep networks with
    DenseNet-type skip connections?" (2021): each layer of a cell, from the third on, also reads up to `links` channels
    of the layers before the previous one.

    Args:
      widths: Channels of each layer, for each cell.
      depths: Number of layers of each cell, 3 or more.
      links: How many channels a layer reads by way of skip connections at most, for each cell.

    Raises:
      InputError: There are not as many widths, depths and links, or a value cannot be used.

    >>> nn_mass(densenet_cells((16,), (4,), (1000,)))  # All that is possible: density 1.
    64.0
    """
    widths, depths = check_stages(widths, depths)
    _, links = check_stages(widths, links, "links")
    cells = []
    for width, depth, most in zip(widths, depths, links, strict=True):
        offered = [width * (layer - 1) for layer in range(2, depth)]
        skips = sum(min(number, most) for number in offered)
        cells.append(Cell(width * depth, skips, sum(offered), width * depth))
    return cells


def cells_of(network: Network) -> list[Cell]:
    """Returns the cells of a network; arguments and errors as for `nn_mass`.

    >>> cells_of(ConvNeXtConfig())[0]
    Cell(inputs=576, skips=96, possible=288, units=384)
    """
    if isinstance(network, ConvNeXtConfig):
        return [_convnext(block) for block in network.blocks()]
    cells = [_convnext(block) for block in _read_blocks(network)] if hasattr(network, "layers") else None
    if cells is None and isinstance(network, Iterable):
        cells = list(network)
    if not cells or not all(isinstance(cell, Cell) for cell in cells):
        raise InputError(
            "Expected a ConvNeXtConfig, a model that `models.ConvNeXt` built, or a sequence of Cells. "
            f"Received: {network!r}."
        )
    return cells


def _convnext(block: Block) -> Cell:
    hidden = block.curved + block.straight
    return _residual((block.width, block.width, hidden, block.width), block.units, block.branch * block.width)


def _residual(channels: Sequence[int], units: int, beside: int = 0) -> Cell:
    """Returns a chain of layers with one skip connection, which adds the input to the output.

    Args:
      channels: Channels of the block's tensors: its input, then the output of each layer.
      units: Number of channels with an activation.
      beside: Input channels of layers that lie beside the chain.
    """
    last = len(channels) - 1
    possible = sum(size * max(last - 1 - index, 0) for index, size in enumerate(channels))
    return Cell(sum(channels[:last]) + beside, channels[0], possible, units)


_DEPTHWISE = re.compile(r"(?P<path>stages-\d+-\d+)-dwconv")


def _read_blocks(model: Any) -> list[Block]:
    """Returns the blocks of a model that `ConvNeXt` built, by the names of its layers."""
    layers = {layer.name: layer for layer in model.layers}
    paths = [match["path"] for match in map(_DEPTHWISE.fullmatch, layers) if match]
    blocks = []
    for path in paths:
        act, first, second = (layers[f"{path}-{name}"] for name in ("act", "pwconv1", "pwconv2"))
        curved = act.split(act.output.shape)[0] if isinstance(act, PartialActivation) else first.filters
        branch, psi = (f"{path}-act-{name}" in layers for name in ("linear", "psi"))
        blocks.append(Block(second.filters, curved, first.filters - curved, branch, psi))
    return blocks
