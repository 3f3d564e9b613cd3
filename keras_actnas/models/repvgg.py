"""RepVGG-A0 as it is deployed: plain convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from keras_actnas.models.image_classifier import activate, classify, conv, image_input

STAGES = ((1, 48), (2, 48), (4, 96), (14, 192), (1, 1280))
"""Number of convolutions and their channels; the first of each stage halves height and width (Ding et al., table 2)."""


def RepVGGA0(  # noqa: N802 (the network's name)
    activation: str = "relu",
    input_shape: Sequence[int] = (224, 224, 3),
    num_classes: int = 1000,
    batch_size: int | None = None,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Returns RepVGG-A0 (Ding et al. 2021) in its deployed form, with random weights.

    22 convolutions of 3x3 with biases, an activation behind each: what the three branches of a trained block become
    together. At 224 px: 8.3 M parameters, 1.4 G multiply-accumulates. Stock Keras layers, named by stage and index
    (`stage3-0-conv`, `stage3-0-act`); convolutions pad as PyTorch's do.

    Args:
      activation: Name of the activation of every site.
      input_shape: Height, width and channels of the images, channels last.
      num_classes: How many classes the classifier tells apart.
      batch_size: A fixed batch size, or None. TFLite conversion wants 1.
      classifier_activation: Activation of the classifier; None for logits.

    Raises:
      InputError: An argument cannot be used.

    >>> model = RepVGGA0(input_shape=(64, 64, 3), num_classes=10)
    >>> model.output_shape, model.get_layer("stage3-13-conv").output.shape
    ((None, 10), (None, 4, 4, 192))
    """
    x = image = image_input(input_shape, batch_size)
    for stage, (depth, width) in enumerate(STAGES):
        for index in range(depth):
            name, strides = f"stage{stage}-{index}", 1 if index else 2
            x = conv(x, f"{name}-conv", width, 3, strides, use_bias=True, symmetric=True)
            x = activate(x, activation, f"{name}-act")
    return classify(image, x, num_classes, classifier_activation, "repvgg_a0", "linear")
