"""ResNet-18."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from keras_actnas.models.image_classifier import CHANNELS_LAST, Tensor, activate, classify, conv, image_input

WIDTHS = (64, 128, 256, 512)
BLOCKS = 2
"""Blocks of each stage."""

BN_EPSILON = 1e-5
BN_MOMENTUM = 0.9
"""Share of the old moving statistics that a step keeps; PyTorch counts the other share, 0.1."""


def ResNet18(  # noqa: N802 (the network's name)
    activation: str = "relu",
    input_shape: Sequence[int] = (224, 224, 3),
    num_classes: int = 1000,
    batch_size: int | None = None,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Returns ResNet-18 (He et al. 2016) with random weights.

    At 224 px: 11.7 M parameters, 1.8 G multiply-accumulates. Stock Keras layers, named by torchvision's module paths
    with hyphens for dots (`layer2-0-conv1`, `layer2-0-downsample-0`); convolutions pad as torchvision's do. The sites
    are `act`, `layer1-0-act1` (inside of a block) and `layer1-0-act2` (behind the addition), ..., `layer4-1-act2`.

    Args:
      activation: Name of the activation of every site.
      input_shape: Height, width and channels of the images, channels last.
      num_classes: How many classes the classifier tells apart.
      batch_size: A fixed batch size, or None. TFLite conversion wants 1.
      classifier_activation: Activation of the classifier; None for logits.

    Raises:
      InputError: An argument cannot be used.

    >>> model = ResNet18(input_shape=(64, 64, 3), num_classes=10)
    >>> model.output_shape, model.get_layer("layer4-1-conv2").output.shape
    ((None, 10), (None, 2, 2, 512))
    """
    image = image_input(input_shape, batch_size)
    x = activate(_conv_norm(image, "conv1", "bn1", WIDTHS[0], 7, 2), activation, "act")
    x = keras.layers.ZeroPadding2D(1, data_format=CHANNELS_LAST, name="maxpool_pad")(x)
    x = keras.layers.MaxPooling2D(3, 2, data_format=CHANNELS_LAST, name="maxpool")(x)
    for stage, width in enumerate(WIDTHS, 1):
        for index in range(BLOCKS):
            x = _block(x, f"layer{stage}-{index}", width, 2 if stage > 1 and index == 0 else 1, activation)
    return classify(image, x, num_classes, classifier_activation, "resnet18", "fc")


def _block(x: Tensor, name: str, width: int, strides: int, activation: str) -> Tensor:
    """Applies two 3x3 convolutions, around them a shortcut that changes size and channels where they do."""
    y = activate(_conv_norm(x, f"{name}-conv1", f"{name}-bn1", width, 3, strides), activation, f"{name}-act1")
    y = _conv_norm(y, f"{name}-conv2", f"{name}-bn2", width, 3, 1)
    if strides > 1 or x.shape[-1] != width:
        x = _conv_norm(x, f"{name}-downsample-0", f"{name}-downsample-1", width, 1, strides)
    return activate(keras.layers.Add(name=f"{name}-add")([x, y]), activation, f"{name}-act2")


def _conv_norm(x: Tensor, conv_name: str, norm_name: str, filters: int, kernel_size: int, strides: int) -> Tensor:
    x = conv(x, conv_name, filters, kernel_size, strides, symmetric=True)
    return keras.layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, name=norm_name)(x)
