"""Proxies from one backward pass: how unlike the images' gradients are, and how strong those of the kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.search.proxies.logits import without_softmax
from keras_actnas.search.proxies.network_proxy import NetworkProxy, graph
from keras_actnas.search.switchable import SwitchableNetwork

_REGULARIZER = 1e-5
"""What Mellor et al. add to the eigenvalues, which come close to 0 for images that are alike."""


class JacobianCovariance(NetworkProxy):
    """Jacobian covariance: images whose input gradients are uncorrelated are told apart by the network.

    J_i is the gradient of the sum of all outputs (logits, not probabilities) by image i, s the eigenvalues of the
    correlations of the J_i; the score is -sum(log(s + k) + 1 / (s + k)) with k = 1e-5. At best, for uncorrelated
    gradients, it is -batch.

    Mellor et al., "Neural Architecture Search without Training", first version (arXiv 2006.04647v1), and "jacob_cov" of
    Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS" (2021), whose networks are in training mode:
    batch_norm="batch". See `NetworkProxy` for the arguments.
    """

    metric = "jacob_cov"

    def _run(self, model: keras.Model) -> keras.Model:
        return without_softmax(model)

    def _compile(self, network: SwitchableNetwork) -> Any:
        tensorflow = require_tensorflow(self.metric)

        def jacobian(images: Any) -> Any:
            with tensorflow.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(images)
                total = sum(keras.ops.sum(output) for output in outputs_of(network, images))
            return keras.ops.reshape(tape.gradient(total, images), (images.shape[0], -1))

        return graph(jacobian)

    def score(self, assignment: Mapping[str, str], seed: int | None = None) -> float:
        """Returns the score; raises `InputError` where a gradient is 0 or not finite. See `NetworkProxy.score`."""
        jacobian = self._seeded.prepare(assignment, seed)(keras.ops.convert_to_tensor(self._images))
        rows = np.asarray(jacobian, np.float64)
        rows -= rows.mean(axis=1, keepdims=True)
        # float32 gradients reach down to 1e-45 and their squares in float64 do not vanish.
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and (lengths > 0).all()):
            raise InputError(
                f"Expected a network whose outputs depend on every image. Received: {self.metric} gradients that are "
                "0, NaN or infinity. Another initialization (--seed) or images of another range (--pixel_max) may help."
            )
        values = np.maximum(np.linalg.eigvalsh((rows / lengths) @ (rows / lengths).T), 0.0) + _REGULARIZER
        return float(-np.sum(np.log(values) + 1 / values))


class GradientNorm(NetworkProxy):
    """Gradient norm: the sum, over all kernels, of the Euclidean norm of the loss's gradient.

    Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS" (2021), section 3.2, "grad_norm". They take the cross
    entropy with the labels. Photographs have none here, and detectors no single loss, so the loss is
    L = 1/2 mean(y^2) over each output y, summed over the outputs: that of the target 0. They compute it in training
    mode: batch_norm="batch". See `NetworkProxy` for the arguments.
    """

    metric = "grad_norm"

    def _run(self, model: keras.Model) -> keras.Model:
        return without_softmax(model)

    def _compile(self, network: SwitchableNetwork) -> Any:
        def loss(images: Any) -> Any:
            return sum(keras.ops.mean(keras.ops.square(output)) / 2 for output in outputs_of(network, images))

        return kernel_gradients(network, loss, self.metric)

    def score(self, assignment: Mapping[str, str], seed: int | None = None) -> float:
        """Returns the score; raises `InputError` where a gradient is not finite. See `NetworkProxy.score`."""
        gradients = self._seeded.prepare(assignment, seed)(keras.ops.convert_to_tensor(self._images))
        score = float(sum(np.linalg.norm(np.float64(gradient)) for _, gradient in gradients))
        if not np.isfinite(score):
            raise InputError(
                "Expected finite gradients. Received: NaN or infinity; check the model's weights and the range of the "
                "images (--pixel_max)."
            )
        return score


def outputs_of(network: SwitchableNetwork, images: Any) -> list[Any]:
    """Runs the network in inference; returns its outputs, each of shape (batch, ...)."""
    return list(keras.tree.flatten(network.model(images, training=False)))


def kernels_of(model: keras.Model) -> list[Any]:
    """Returns the kernels of all layers: the weights of at least two dimensions."""
    return [weight for weight in model.weights if len(weight.shape) >= 2]


def kernel_gradients(network: SwitchableNetwork, function: Callable[[Any], Any], metric: str) -> Any:
    """Returns a compiled function: images -> every kernel with the gradient of `function(images)` by it.

    Kernels on which the value does not depend are left out.

    Args:
      network: The switchable network.
      function: What is differentiated; runs the network.
      metric: What messages call the proxy.
    """
    tensorflow = require_tensorflow(metric)
    kernels = [kernel.value for kernel in kernels_of(network.model)]

    def gradients(images: Any) -> list[tuple[Any, Any]]:
        with tensorflow.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(kernels)  # Frozen ones count as well.
            value = function(images)
        made = zip(kernels, tape.gradient(value, kernels), strict=True)
        return [(kernel + 0.0, gradient) for kernel, gradient in made if gradient is not None]

    return graph(gradients)


def require_tensorflow(metric: str) -> Any:
    """Returns TensorFlow; raises `InputError` when Keras computes with another backend."""
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"Expected KERAS_BACKEND=tensorflow for {metric}, which needs gradients. "
            f"Received: {keras.backend.backend()}."
        )
    import tensorflow

    return tensorflow
