"""RAN-e networks as lists of blocks: the super-network's stages and the networks that were found in it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from keras_actnas import core
from keras_actnas.core.files import write_atomically


@dataclasses.dataclass(frozen=True)
class Block:
    """One stage of a RAN-e network.

    Attributes:
      name: Beginning of its layers' names.
      filters: Number of output channels.
      expansion: Hidden channels as a multiple of the input channels, in an AFRB or an inverted bottleneck.
      strides: Stride.
      kernel_size: Size of the depthwise convolution, or of the one convolution if collapsed.
      variant: Variant of `layers.AFRB`; None to choose it by shape.
      collapsed: Whether the search decided for a convolution in place of an inverted bottleneck.
      alpha: Alpha of its AFRB after the search, where there was one.
    """

    name: str
    filters: int
    expansion: float = 6
    strides: int = 1
    kernel_size: int = 3
    variant: int | None = None
    collapsed: bool = False
    alpha: float | None = None


_TABLE_5 = (
    # Output channels, expansion, stride, variant: stages 2 to 17 of Bhardwaj et al. (2022), appendix A.
    (32, 6, 1, 1),
    (48, 6, 2, 1),
    (64, 6, 2, 1),
    (80, 6, 1, 1),
    (80, 6, 2, 1),
    (80, 6, 1, 2),
    (96, 4, 1, 1),
    (96, 4, 1, 2),
    (128, 6, 1, 1),
    (128, 6, 1, 3),
    (160, 6, 2, 1),
    (176, 4, 1, 1),
    (176, 4, 1, 2),
    (176, 4, 1, 2),
    (224, 6, 1, 1),
    (224, 6, 1, 2),
)
SUPERNET = tuple(
    Block(f"stage{number}", filters, expansion, strides, variant=variant)
    for number, (filters, expansion, strides, variant) in enumerate(_TABLE_5, 2)
)
"""The stages of the super-network, none of them collapsed."""

WIDTH_W = 0.91


def scaled(blocks: Sequence[Block], width: float) -> tuple[Block, ...]:
    """Returns blocks with channels multiplied by `width` and rounded down to even numbers.

    The paper does not say how it rounds the channels of SubNetwork-W (`width` 0.91) or what it leaves as it is. So
    done, with the stem and the top as they are, the network has the 4.13 M parameters that table 1 prints, and 486 M
    multiply-accumulates where it prints 488 M.
    """
    return tuple(dataclasses.replace(block, filters=2 * int(block.filters * width / 2)) for block in blocks)


def _found(collapsed: str, kernels: str = "3" * 16, expansions: str | None = None) -> tuple[Block, ...]:
    """Returns the super-network's blocks with one digit each for: is it collapsed, kernel size, expansion."""
    wide = map(int, expansions) if expansions else [block.expansion for block in SUPERNET]
    return tuple(
        dataclasses.replace(block, collapsed=flag == "1", kernel_size=int(kernel), expansion=expansion)
        for block, flag, kernel, expansion in zip(SUPERNET, collapsed, kernels, wide, strict=True)
    )


# Figure 4: A is what the search gives, B collapses the two heaviest blocks as well, C enlarges kernels.
NETWORKS = {
    "supernet": SUPERNET,
    "W": scaled(SUPERNET, WIDTH_W),
    "A": _found("0001010100100100"),
    "B": _found("1101010100100100"),
    "C": _found("1101010100100100", "3333535333373355"),
    "GT": _found("1111000011000000", "3333553333733355", "2222664422644466"),
}


def named_blocks(blocks: str | Iterable[Block]) -> tuple[Block, ...]:
    """Returns the blocks of a published network, or blocks as they are.

    Raises:
      InputError: The name is unknown, there is no block, or two have one name.
    """
    if isinstance(blocks, str):
        if blocks not in NETWORKS:
            raise core.InputError(f"Expected a RAN-e network. Received: {blocks!r}.{core.closest(blocks, NETWORKS)}")
        return NETWORKS[blocks]
    blocks = tuple(blocks)
    names = [getattr(block, "name", None) for block in blocks]
    if not blocks or not all(isinstance(block, Block) for block in blocks) or len(set(names)) < len(names):
        raise core.InputError(f"Expected a name, or blocks with a name each of their own. Received: {blocks!r}.")
    return blocks


def save_blocks(blocks: Iterable[Block], path: str | os.PathLike[str]) -> None:
    """Writes blocks to a JSON file."""
    text = json.dumps({"blocks": [dataclasses.asdict(block) for block in named_blocks(blocks)]}, indent=2)
    write_atomically(path, text + "\n")


def load_blocks(path: str | os.PathLike[str]) -> tuple[Block, ...]:
    """Returns the blocks of a JSON file.

    Raises:
      InputError: The file is not there or holds something else.
    """
    try:
        content: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        return named_blocks(Block(**block) for block in content["blocks"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise core.InputError(f"Expected a file that `save_blocks` wrote. Received: {path} ({error}).") from error
