"""From a network of AFRBs to the one that is deployed: convolutions and inverted bottlenecks."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_actnas import core
from keras_actnas.core.checks import is_finite
from keras_actnas.layers.afrb import AFRB, afrb_layers
from keras_actnas.layers.afrb_part import AFRBPart
from keras_actnas.layers.restructured import RestructuredBlock
from keras_actnas.surgery.copying import Rewrite, Section, copy_model
from keras_actnas.surgery.linear_chain import compose_convolutions

LINEAR = (0.8, 1.3)
"""Values of alpha that the paper counts as linear (Bhardwaj et al. 2022, section 2.5.1, footnote 4)."""
EXACT = 1e-6


def collapse_afrb(
    model: keras.Model,
    linear: tuple[float, float] = LINEAR,
    blocks: Iterable[str] | None = None,
    rounding: bool = False,
    activation: str = "relu",
) -> keras.Model:
    """Returns a copy of a network without AFRBs: each is one convolution, or an inverted bottleneck.

    From Bhardwaj et al., "Restructurable Activation Networks" (2022), sections 2.2 and 2.5.1. A block whose alpha is in
    the range `linear` becomes batch normalization, activation and one convolution (two in variant 3) whose weights are
    composed analytically of all that was linear. At alpha = 1 and with ReLU the outputs are the block's, the border of
    the images included. Elsewhere in the range alpha is rounded to 1, which changes the outputs: a warning says by how
    much. The other blocks become inverted bottlenecks with an activation behind the expansion, too, which the AFRB left
    out; they start with the block's weights, but compute something else: train the network further, or anew.

    The copy consists of Keras's own layers, named as `layers.RestructuredBlock` says; it is not compiled. `model` stays
    as it is. In a Sequential model's place comes a functional one.

    Args:
      model: A functional or Sequential model with AFRBs.
      linear: Smallest and largest alpha that counts as linear.
      blocks: Names of the blocks to collapse; None for those whose alpha is in `linear`.
      rounding: Collapse the blocks that `blocks` names even where alpha is not in `linear`.
      activation: Name of the activation of all blocks. ReLU is what alpha = 1 stands for; the paper trains its networks
        anew with `"hard_swish"`.

    Raises:
      InputError: The model is not functional or has no AFRB that can be replaced, `blocks` names a block that is none
        or, without `rounding`, one whose alpha is not in `linear`; or, without `blocks`, no alpha was trained.

    Warns:
      UserWarning: Where alpha is rounded, with the change that this makes.

    >>> inputs = keras.Input((8, 8, 4))
    >>> model = keras.Model(inputs, AFRB(4, alpha_initializer="ones", name="block")(inputs))
    >>> [layer.name for layer in collapse_afrb(model).layers[1:]]
    ['block_norm', 'block_act', 'block_conv', 'block_add']
    """
    layers = _afrbs(model)
    chosen = _linear(layers, linear) if blocks is None else _named(layers, blocks, None if rounding else _range(linear))
    _report_rounding(chosen)

    collapse = {id(layer) for layer in chosen}  # Names need not be unique among nested models.
    new: list[tuple[AFRB, RestructuredBlock]] = []

    def instead(layer: Any) -> Any:
        if not isinstance(layer, AFRB):
            return None
        new.append((layer, _restructured(layer, id(layer) in collapse, activation)))
        return Section(new[-1][1])

    collapsed = copy_model(model, Rewrite(instead=instead))
    for block, restructured in new:
        _fill(block, restructured)
    left = afrb_layers(collapsed)
    if left:
        raise core.InputError(
            f"Expected AFRBs that the model's graph holds. Received: {left[0].name!r} inside of another layer; build "
            "that layer's part of the model functionally."
        )
    return collapsed


def linear_blocks(model: keras.Model, linear: tuple[float, float] = LINEAR) -> list[str]:
    """Returns the names of the AFRBs whose alpha counts as linear after training.

    Args:
      model: A model with AFRBs.
      linear: Smallest and largest alpha that counts as linear.

    Raises:
      InputError: The model has no AFRB, or all alphas are what they were at the start, and not linear.

    >>> linear_blocks(keras.Sequential([keras.Input((8, 8, 4)), AFRB(4, alpha_initializer="ones", name="block")]))
    ['block']
    """
    return [layer.name for layer in _linear(_afrbs(model), linear)]


def _linear(layers: list[AFRB], linear: tuple[float, float]) -> list[AFRB]:
    """Returns the AFRBs whose alpha counts as linear; raises `InputError` as `linear_blocks` does."""
    low, high = _range(linear)
    alphas = [(layer.alpha_value(), float(layer.alpha_initializer(()))) for layer in layers]
    if all(abs(alpha - start) < EXACT and not low <= alpha <= high for alpha, start in alphas):
        raise core.InputError(
            f"Expected a model whose alphas were trained. Received: all {len(layers)} are as at the start, such as "
            f"{alphas[0][0]:g}; train with `callbacks.AFRBScheduler`, or name the `blocks` to collapse."
        )
    return [layer for layer, (alpha, _) in zip(layers, alphas, strict=True) if low <= alpha <= high]


def rounding_error(block: AFRB, samples: int = 16, size: int = 16) -> float:
    """Estimates how much a block's output changes when alpha is rounded to 1, from weights and statistics alone.

    The inputs are random images of the mean and variance that the block's first batch normalization has recorded.

    Args:
      block: A built AFRB.
      samples: Number of images.
      size: Their height and width.

    Returns:
      Root mean square of the change, as a share of the standard deviation of what the block adds or returns.
    """
    norm = block.parts[0].norm
    mean, variance = (keras.ops.convert_to_numpy(value) for value in (norm.moving_mean, norm.moving_variance))
    images = np.random.default_rng(0).normal(mean, np.sqrt(variance), (samples, size, size, len(mean)))
    x = keras.ops.convert_to_tensor(images if block.channel_axis == 3 else np.moveaxis(images, 3, 1), "float32")
    alpha = keras.ops.copy(block.alpha)
    own, rounded = (_chained(block, x, value) for value in (alpha, keras.ops.ones_like(alpha)))
    return float(np.sqrt(np.mean((rounded - own) ** 2)) / max(np.std(own), np.finfo("float32").tiny))


def _chained(block: AFRB, x: Any, alpha: Any) -> np.ndarray:
    for part in block.parts:
        x = part(x, alpha, training=False)
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float32"))


def _restructured(block: AFRB, collapsed: bool, activation: str) -> RestructuredBlock:
    """Returns the layers that stand in for a block."""
    return RestructuredBlock(
        block.parts[0].expand.kernel.shape[2],
        block.filters,
        block.kernel_size,
        block.strides[0],
        block.expansion,
        block.variant,
        collapsed,
        activation,
        name=block.name,
        data_format=block.data_format,
        momentum=block.momentum,
        dtype=block.dtype_policy,
        trainable=block.trainable,
    )


def _fill(block: AFRB, new: RestructuredBlock) -> None:
    """Gives the layers that stand in for a block its weights."""
    for part, layers in zip(block.parts, new.parts, strict=True):
        if "conv" in layers:
            _fill_convolution(part, layers)
        else:
            _fill_bottleneck(part, layers)


def _fill_convolution(part: AFRBPart, layers: dict[str, Any]) -> None:
    """Gives the layers of a collapsed part its weights."""
    _copy(part.norm, layers["norm"])
    composed = compose_convolutions(part.linear_chain())
    layers["conv"].set_weights([composed.kernel, composed.bias])


def _fill_bottleneck(part: AFRBPart, layers: dict[str, Any]) -> None:
    """Gives the layers of an inverted bottleneck the weights of a part, whose first PReLU counts as the identity.

    The first batch normalization, which the bottleneck does not have, goes into the expansion and the mean behind it.
    """
    for step in ("depthwise", "depthwise_norm", "project", "project_norm"):
        _copy(getattr(part, step), layers[step])
    entry = compose_convolutions([part.norm, part.expand])
    layers["expand"].set_weights([entry.kernel])
    _copy(part.expand_norm, layers["expand_norm"])
    mean = keras.ops.convert_to_numpy(part.expand_norm.moving_mean).astype("float64")
    layers["expand_norm"].moving_mean.assign(mean - entry.bias)


def _copy(old: Any, new: Any) -> None:
    # By way of NumPy: two models must not share arrays, which the JAX trainer hands over to a step for good.
    new.set_weights([np.array(weight) for weight in old.get_weights()])


def _report_rounding(blocks: list[AFRB]) -> None:
    rounded = [block for block in blocks if abs(block.alpha_value() - 1) > EXACT]
    if rounded:
        shown = ", ".join(
            f"{block.name!r} (alpha {block.alpha_value():.3f}: {rounding_error(block):.1%})" for block in rounded
        )
        warnings.warn(
            "Alpha was rounded to 1, which changes what a block computes by about this much of its spread, estimated "
            f"on random inputs: {shown}. Train the network further, or anew.",
            stacklevel=3,
        )


def _named(layers: list[AFRB], blocks: Iterable[str], linear: tuple[float, float] | None) -> list[AFRB]:
    """Returns the blocks that are asked for; raises `InputError` unless each is there, and linear."""
    names = {blocks} if isinstance(blocks, str) else set(blocks)
    known = {layer.name: layer for layer in layers}
    for name in sorted(names - set(known)):
        raise core.InputError(f"Expected names of AFRBs. Received: {name!r}.{core.closest(name, known)}")
    chosen = [layer for layer in layers if layer.name in names]
    bent = [layer for layer in chosen if linear and not linear[0] <= layer.alpha_value() <= linear[1]]
    if linear and bent:
        name, alpha = bent[0].name, bent[0].alpha_value()
        raise core.InputError(
            f"Expected blocks that are linear, with alpha from {linear[0]:g} to {linear[1]:g}. Received: "
            f"{len(bent)} that are not, such as {name!r} with alpha {alpha:.3f}; pass rounding=True to collapse them "
            "all the same and be told what that changes."
        )
    return chosen


def _afrbs(model: keras.Model) -> list[AFRB]:
    layers = afrb_layers(model)
    if not layers:
        raise core.InputError(f"Expected a model with AFRB layers. Received: {model.name!r}, which has none.")
    return layers


def _range(linear: Any) -> tuple[float, float]:
    pair = tuple(linear) if isinstance(linear, (list, tuple)) else ()
    if len(pair) != 2 or not all(map(is_finite, pair)) or pair[0] > pair[1]:
        raise core.InputError(f"Expected linear to be the smallest and the largest alpha. Received: {linear!r}.")
    return float(pair[0]), float(pair[1])
