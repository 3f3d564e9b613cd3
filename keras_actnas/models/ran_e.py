"""RAN-e: the super-network of restructurable blocks, and the networks that are found in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from keras_actnas.layers.afrb import AFRB
from keras_actnas.layers.named import activation_layer
from keras_actnas.layers.restructured import RestructuredBlock
from keras_actnas.models.ran_e_blocks import SUPERNET, Block, named_blocks

STEM_FILTERS, TOP_FILTERS, TOP_KERNEL = 16, 1344, 7


def RANESuperNet(  # noqa: N802 (the network's name)
    blocks: str | Iterable[Block] = SUPERNET,
    input_shape: Sequence[int] = (224, 224, 3),
    num_classes: int = 1000,
    linearity: float = 0.0,
    activation: str = "hard_swish",
    stem_filters: int = STEM_FILTERS,
    stem_strides: int = 2,
    top_filters: int = TOP_FILTERS,
    top_kernel_size: int = TOP_KERNEL,
    momentum: float = 0.99,
    batch_size: int | None = None,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Returns the super-network of the RAN-e search: every block is an `AFRB`, whose alpha decides what it becomes.

    From Bhardwaj et al., "Restructurable Activation Networks" (2022), section 2.5 and appendix A. Train it with
    `callbacks.AFRBScheduler`; then `search.ran_e.decide` gives the blocks for `RANE`, or `surgery.collapse_afrb` a
    network that starts with its weights. Own `blocks` make other super-networks, also small ones.

    Args:
      blocks: The stages between stem and top; whether they are collapsed does not matter here.
      input_shape: Height, width and channels of the images.
      num_classes: Units of the classifier.
      linearity: As for `AFRB`.
      activation: Name of the activation of the top.
      stem_filters: Channels of the stem, a 3x3 convolution without batch normalization and activation.
      stem_strides: Stride of the stem.
      top_filters: Channels of the top: 1x1 convolution, depthwise convolution, average, classifier.
      top_kernel_size: Size of the top's depthwise convolution. It is padded (`"same"`): so counted the networks have
        the multiply-accumulates that the paper prints.
      momentum: Momentum of all batch normalizations, as for `AFRB`.
      batch_size: A fixed batch size, or None. TFLite conversion wants 1.
      classifier_activation: Activation of the classifier; None for logits.

    Raises:
      InputError: Two blocks have one name, or a block's variant does not fit its shapes.

    >>> small = [Block("a", 8), Block("b", 16, strides=2)]
    >>> model = RANESuperNet(small, (28, 28, 1), 10, stem_filters=4, top_filters=32)
    >>> [layer.name for layer in model.layers if isinstance(layer, AFRB)]
    ['a', 'b']
    """

    def apply(block: Block, x: Any) -> Any:
        shape = (block.filters, block.kernel_size, block.strides, block.expansion, block.variant)
        return AFRB(*shape, linearity=linearity, momentum=momentum, name=block.name)(x)

    stem, top = (stem_filters, stem_strides), (top_filters, top_kernel_size, activation, momentum)
    classifier = (num_classes, classifier_activation)
    return _network("ran_e_supernet", blocks, apply, input_shape, batch_size, stem, top, classifier)


def RANE(  # noqa: N802 (the network's name)
    blocks: str | Iterable[Block],
    activation: str = "hard_swish",
    input_shape: Sequence[int] = (224, 224, 3),
    num_classes: int = 1000,
    stem_filters: int = STEM_FILTERS,
    stem_strides: int = 2,
    top_filters: int = TOP_FILTERS,
    top_kernel_size: int = TOP_KERNEL,
    momentum: float = 0.99,
    batch_size: int | None = None,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Returns a RAN-e network with random weights: inverted bottlenecks and convolutions, of Keras's own layers.

    From Bhardwaj et al., "Restructurable Activation Networks" (2022), section 2.5, figure 4 and table 1. The layers are
    named, and ordered, as `surgery.collapse_afrb` does it for a `RANESuperNet` of the same blocks.

    Args:
      blocks: `"A"`, `"B"`, `"C"` (the paper's RAN-e-C), `"GT"` (RAN-e-GT), `"supernet"` (all blocks inverted
        bottlenecks), `"W"` (SubNetwork-W: the same with fewer channels), or blocks, such as a search returns.
      activation: Name of the activation of every site.
      input_shape: As for `RANESuperNet`, as are the other arguments.
      num_classes: Units of the classifier.
      stem_filters: Channels of the stem.
      stem_strides: Stride of the stem.
      top_filters: Channels of the top.
      top_kernel_size: Size of the top's depthwise convolution.
      momentum: Momentum of all batch normalizations.
      batch_size: A fixed batch size, or None.
      classifier_activation: Activation of the classifier; None for logits.

    Raises:
      InputError: The name or the activation is unknown, or as for `RANESuperNet`.

    >>> RANE("GT", input_shape=(64, 64, 3)).get_layer("stage2_conv").kernel_size
    (3, 3)
    """

    def apply(block: Block, x: Any) -> Any:
        shape = (block.filters, block.kernel_size, block.strides, block.expansion, block.variant, block.collapsed)
        return RestructuredBlock(x.shape[_channel_axis()], *shape, activation, momentum=momentum, name=block.name)(x)

    name = f"ran_e_{blocks}" if isinstance(blocks, str) else "ran_e"
    stem, top = (stem_filters, stem_strides), (top_filters, top_kernel_size, activation, momentum)
    return _network(name, blocks, apply, input_shape, batch_size, stem, top, (num_classes, classifier_activation))


def _channel_axis() -> int:
    return -1 if keras.config.image_data_format() == "channels_last" else 1


def _network(
    name: str,
    blocks: str | Iterable[Block],
    apply: Callable[[Block, Any], Any],
    input_shape: Sequence[int],
    batch_size: int | None,
    stem: tuple[int, int],
    top: tuple[int, int, str, float],
    classifier: tuple[int, str | None],
) -> keras.Model:
    """Returns blocks between the stem and the top of appendix A, table 6."""
    inputs = keras.Input(tuple(input_shape), batch_size=batch_size, name="image")
    filters, strides = stem
    x = keras.layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name="stem")(inputs)
    for block in named_blocks(blocks):
        x = apply(block, x)

    filters, kernel_size, activation, momentum = top
    axis = _channel_axis()
    x = keras.layers.Conv2D(filters, 1, use_bias=False, name="top_conv")(x)
    x = keras.layers.BatchNormalization(axis, momentum, name="top_conv_norm")(x)
    x = activation_layer(activation, name="top_conv_act")(x)
    x = keras.layers.DepthwiseConv2D(kernel_size, padding="same", use_bias=False, name="top_depthwise")(x)
    x = keras.layers.BatchNormalization(axis, momentum, name="top_depthwise_norm")(x)
    x = activation_layer(activation, name="top_depthwise_act")(x)
    x = keras.layers.GlobalAveragePooling2D(name="top_pool")(x)
    num_classes, classifier_activation = classifier
    x = keras.layers.Dense(num_classes, activation=classifier_activation, name="classifier")(x)
    return keras.Model(inputs, x, name=name)
