"""SynFlow: how much flows through a network whose weights are all positive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_actnas.core.activations import CANDIDATES
from keras_actnas.core.errors import InputError
from keras_actnas.search.proxies.gradients import kernel_gradients, outputs_of
from keras_actnas.search.proxies.logits import without_softmax
from keras_actnas.search.proxies.network_proxy import NetworkProxy, checked_images
from keras_actnas.search.settings import BatchNormMode
from keras_actnas.search.switchable import SwitchableNetwork


class SynFlow(NetworkProxy):
    """A SynFlow-like score: log sum |W * dR/dW|, with R the sum of the outputs for an image of ones.

    Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic flow" (2020), equation
    (2), as a score of networks by Abdelfattah et al. (2021). Here

    - kernels and scales are taken absolute, shifts and biases are 0, and BatchNorm scales by its moving variance;
    - every kernel is divided by its mean sum of inputs, so that ones stay about ones. Otherwise the flow through a deep
      network grows beyond float32; it changes the scores of all assignments in the same way as long as these are
      homogeneous;
    - activations are applied as they are to what flows, which is positive: ReLU passes all of it, ReLU6 what is below
      6, SiLU and hard-swish less. It is therefore high for whatever is close to the identity on positive values.

    The score does not look at images: of those given, only the shape counts, and BatchNorm's mode does not.

    See `NetworkProxy` for the arguments.
    """

    metric = "synflow"

    def __init__(
        self,
        model: keras.Model,
        images: np.ndarray,
        activations: Sequence[str] = CANDIDATES,
        batch_norm: BatchNormMode = "inference",
    ) -> None:
        if batch_norm != "inference":
            raise InputError(
                f"Expected batch_norm='inference', since one image of ones has no statistics. Received: {batch_norm!r}."
            )
        super().__init__(model, images, activations, batch_norm)

    def on(self, images: np.ndarray) -> NetworkProxy:
        """Returns the proxy, which is the same for all images."""
        return self

    def _run(self, model: keras.Model) -> keras.Model:
        return without_softmax(model)

    def _seen(self, model: keras.Model, images: np.ndarray) -> np.ndarray:
        return np.ones_like(checked_images(model, images)[:1])

    def _image_conditions(self) -> dict[str, Any]:
        return {"input_shape": list(self._images.shape[1:])}

    def _weights(self, model: keras.Model, weights: list[np.ndarray]) -> list[np.ndarray]:
        return positive_weights(model, weights)

    def _compile(self, network: SwitchableNetwork) -> Any:
        def flow(images: Any) -> Any:
            return sum(keras.ops.sum(output) for output in outputs_of(network, images))

        return kernel_gradients(network, flow, self.metric)

    def score(self, assignment: Mapping[str, str], seed: int | None = None) -> float:
        """Returns the score; raises `InputError` where nothing flows. See `NetworkProxy.score`."""
        pairs = self._seeded.prepare(assignment, seed)(keras.ops.convert_to_tensor(self._images))
        total = sum(float(np.abs(np.float64(kernel) * np.float64(gradient)).sum()) for kernel, gradient in pairs)
        if not 0 < total < np.inf:
            raise InputError(
                f"Expected a network through which ones flow from the input to the outputs. Received: a flow of {total}"
                f"; check the weights of {self._seeded.model.name!r}."
            )
        return float(np.log(total))


def positive_weights(model: keras.Model, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns absolute weights, with kernels that sum to 1 over their inputs on average, and without shifts.

    Args:
      model: The model whose weights they are.
      weights: One array for each of its weights, in their order.
    """
    layer_of = {id(weight): layer for layer in model._flatten_layers() for weight in layer.weights}
    positive = []
    for variable, array in zip(model.weights, weights, strict=True):
        if array.ndim >= 2:
            kernel = np.abs(array)
            mean_sum = kernel.sum(dtype=np.float64) / _outputs(layer_of[id(variable)], array.shape)
            positive.append((kernel / mean_sum if mean_sum else kernel).astype(array.dtype))
        elif variable.name in _SHIFTS:
            positive.append(np.zeros_like(array))
        else:
            positive.append(np.abs(array))
    return positive


_SHIFTS = ("bias", "beta", "moving_mean")


def _outputs(layer: Any, shape: tuple[int, ...]) -> int:
    """Returns how many sums a layer forms with a kernel at one place."""
    if isinstance(layer, (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)):
        return shape[-2] * shape[-1]
    if isinstance(layer, (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose)):
        return shape[-2]
    return shape[-1]
