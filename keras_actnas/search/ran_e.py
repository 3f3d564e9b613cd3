"""The RAN-e search: from a trained super-network to blocks, step by step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_actnas.core.checks import is_whole
from keras_actnas.core.errors import InputError, closest
from keras_actnas.layers.afrb import afrb_layers
from keras_actnas.models.ran_e import RANE
from keras_actnas.models.ran_e_blocks import Block
from keras_actnas.search.macs import count_macs
from keras_actnas.surgery.afrb import LINEAR, linear_blocks

Build = Callable[[Sequence[Block]], keras.Model]
"""Makes a network of blocks: `models.RANE`, or `functools.partial(RANE, ...)` with the network's other arguments."""


def decide(model: keras.Model, linear: tuple[float, float] = LINEAR) -> tuple[Block, ...]:
    """Returns the blocks that the search decided for: collapsed where alpha is in `linear`.

    The initial search of Bhardwaj et al., "Restructurable Activation Networks" (2022), section 2.5.1; its result there
    is SubNetwork-A. `models.RANE` builds the network, to be trained anew as in the paper; `surgery.collapse_afrb`
    builds it with the super-network's weights.

    Args:
      model: A super-network, such as `models.RANESuperNet`, after training.
      linear: Smallest and largest alpha that counts as linear.

    Raises:
      InputError: The model has no AFRB, or no alpha was trained.

    >>> from keras_actnas.models import RANESuperNet
    >>> model = RANESuperNet([Block("a", 8), Block("b", 8)], (16, 16, 3), 10)
    >>> model.get_layer("b").alpha.assign(0.93)
    >>> [(block.name, block.collapsed) for block in decide(model)]
    [('a', False), ('b', True)]
    """
    collapsed = set(linear_blocks(model, linear))
    return tuple(_as_block(layer, layer.name in collapsed) for layer in afrb_layers(model))


def block_macs(blocks: Sequence[Block], build: Build = RANE) -> dict[str, int]:
    """Returns the multiply-accumulates of every block, for one image, in the network that `build` makes."""
    totals = {block.name: 0 for block in blocks}
    for layer in count_macs(build(blocks)).layers:
        owners = [name for name in totals if layer.name.startswith(f"{name}_")]
        if owners:
            totals[max(owners, key=len)] += layer.macs
    return totals


def collapse_heaviest(blocks: Sequence[Block], count: int = 2, build: Build = RANE) -> tuple[Block, ...]:
    """Returns blocks of which the `count` with the most multiply-accumulates are collapsed, too.

    Fine-tuning stage 1 of the paper, section 2.5.2: the accuracy-driven search leaves the first two blocks, the
    heaviest, as they are; collapsed, they make SubNetwork-B of SubNetwork-A.

    Raises:
      InputError: Fewer than `count` blocks are left to collapse.

    >>> from keras_actnas.models import RANE
    >>> blocks = (Block("a", 8), Block("b", 32), Block("c", 8))
    >>> build = lambda blocks: RANE(blocks, input_shape=(16, 16, 3), num_classes=10)
    >>> [block.name for block in collapse_heaviest(blocks, 1, build) if block.collapsed]
    ['c']
    """
    left = [block.name for block in blocks if not block.collapsed]
    if not is_whole(count) or not 0 <= count <= len(left):
        raise InputError(f"Expected count from 0 to the {len(left)} blocks not collapsed yet. Received: {count!r}.")
    macs = block_macs(blocks, build)
    heaviest = sorted(left, key=lambda name: -macs[name])[:count]
    return change(blocks, {name: {"collapsed": True} for name in heaviest})


def enlarge_kernels(blocks: Sequence[Block], kernel_sizes: Mapping[str, int]) -> tuple[Block, ...]:
    """Returns blocks of which some have other kernels: in a depthwise convolution these cost little.

    Fine-tuning stage 2 of the paper, section 2.5.3, which recovers accuracy: SubNetwork-C.

    Args:
      blocks: The blocks.
      kernel_sizes: Name of a block that is not collapsed -> odd size of its depthwise convolution.

    Raises:
      InputError: A name is not a block's, the block is collapsed, or the size is not odd.

    >>> enlarge_kernels([Block("a", 8)], {"a": 5})[0].kernel_size
    5
    """
    collapsed = {block.name for block in blocks if block.collapsed}
    for name, size in kernel_sizes.items():
        if name in collapsed:
            raise InputError(f"Expected blocks that are not collapsed, whose kernels are cheap. Received: {name!r}.")
        if not is_whole(size) or size < 1 or size % 2 == 0:
            raise InputError(f"Expected odd kernel sizes. Received: {size!r} for {name!r}.")
    return change(blocks, {name: {"kernel_size": size} for name, size in kernel_sizes.items()})


def change(blocks: Sequence[Block], changes: Mapping[str, Mapping[str, Any]]) -> tuple[Block, ...]:
    """Returns blocks with some of their attributes changed, by name.

    Raises:
      InputError: A name is not a block's.
    """
    names = [block.name for block in blocks]
    for name in changes:
        if name not in names:
            raise InputError(f"Expected names of blocks. Received: {name!r}.{closest(name, names)}")
    return tuple(dataclasses.replace(block, **changes.get(block.name, {})) for block in blocks)


def _as_block(layer: Any, collapsed: bool) -> Block:
    if layer.kernel_size[0] != layer.kernel_size[1]:
        raise InputError(f"Expected AFRBs with square kernels. Received: {layer.name!r} with {layer.kernel_size}.")
    shape = (layer.filters, layer.expansion, layer.strides[0], layer.kernel_size[0], layer.geometry.variant)
    return Block(layer.name, *shape, collapsed=collapsed, alpha=layer.alpha_value())
