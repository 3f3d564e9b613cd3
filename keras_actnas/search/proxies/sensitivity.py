"""Sensitivity: how far a trained network's outputs move when its activations are exchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_actnas.core.activations import CANDIDATES
from keras_actnas.core.errors import InputError
from keras_actnas.search.proxies.gradients import outputs_of
from keras_actnas.search.proxies.network_proxy import NetworkProxy, graph
from keras_actnas.search.settings import BatchNormMode
from keras_actnas.search.switchable import SwitchableNetwork


class Sensitivity(NetworkProxy):
    """Divergence of a trained network's outputs on the user's images from those of the reference; less is better.

    D = mean over the outputs of mean((y - r)^2) / mean((r - mean_images(r))^2), where r is the reference's output: 0
    for the reference, and about 2 for a network whose outputs have nothing to do with r but vary as much. It is the
    mean squared error that post-training quantization ranks layers by, relative to what the outputs say about images.

    With batch_norm="batch" BatchNorm takes its statistics from the images in both networks, which is what re-estimating
    them after the exchange would do; with "inference" it keeps those of the training. See `NetworkProxy` for the
    arguments.

    Raises:
      InputError: The model has BatchNorm layers, none of which has seen data.
    """

    metric = "sensitivity"
    higher_is_better = False

    def __init__(
        self,
        model: keras.Model,
        images: np.ndarray,
        activations: Sequence[str] = CANDIDATES,
        batch_norm: BatchNormMode = "inference",
    ) -> None:
        super().__init__(model, images, activations, batch_norm)
        _check_trained(model)
        self._reference_of: dict[str, tuple[list[np.ndarray], list[float]]] = {}

    def _compile(self, network: SwitchableNetwork) -> Any:
        return graph(lambda images: outputs_of(network, images))

    def score(self, assignment: Mapping[str, str], seed: int | None = None) -> float:
        """Returns the divergence; raises `InputError` for a seed, or outputs that are not finite.

        See `NetworkProxy.score`.
        """
        if seed is not None:
            raise InputError(
                f"Expected the weights that the model has, since {self.metric} is about a trained network. "
                f"Received: the initialization of seed {seed}; give --seeds=0."
            )
        reference, variances = self._reference_outputs()
        outputs = self._outputs(assignment)
        pairs = zip(outputs, reference, variances, strict=True)
        return float(np.mean([np.mean((made - own) ** 2) / variance for made, own, variance in pairs]))

    def _outputs(self, assignment: Mapping[str, str]) -> list[np.ndarray]:
        outputs = self._seeded.prepare(assignment, None)(keras.ops.convert_to_tensor(self._images))
        arrays = [np.asarray(keras.ops.convert_to_numpy(output), np.float64) for output in outputs]
        if not all(np.isfinite(array).all() for array in arrays):
            raise InputError(
                "Expected finite outputs. Received: NaN or infinity; check the model's weights and the range of the "
                "images (--pixel_max)."
            )
        return arrays

    def _reference_outputs(self) -> tuple[list[np.ndarray], list[float]]:
        """Returns the reference's outputs on the images, and the variance of each from image to image."""
        images = self.conditions["images"]
        if images not in self._reference_of:
            outputs = self._outputs({})
            variances = [float(np.mean(output.var(axis=0))) for output in outputs]
            if not all(variances):
                raise InputError(
                    "Expected outputs that differ from image to image. Received: one that is the same for all images; "
                    "give other images (--images), or check that the model is trained."
                )
            self._reference_of[images] = outputs, variances
        return self._reference_of[images]


def _check_trained(model: keras.Model) -> None:
    """Raises `InputError` when every BatchNorm layer has the statistics that it starts with."""
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    statistics = [
        [keras.ops.convert_to_numpy(array) for array in (layer.moving_mean, layer.moving_variance)] for layer in norms
    ]
    if norms and all((mean == 0).all() and (variance == 1).all() for mean, variance in statistics):
        raise InputError(
            f"Expected a trained network, for sensitivity. Received: {model.name!r}, whose BatchNorm layers have the "
            "statistics of a new one. Give the trained model (--model=FILE.keras), or another --proxy."
        )
