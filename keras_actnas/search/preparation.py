"""What a search needs before it begins: images, proxies, and a model that is fit for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.search.detection_recipe import DetectionRecipe, is_detection_data
from keras_actnas.search.images import image_batch
from keras_actnas.search.labelled_images import load_training_data
from keras_actnas.search.progress import Progress
from keras_actnas.search.proxies.cluster import ScoringCluster
from keras_actnas.search.proxies.labelled import Recipe
from keras_actnas.search.proxies.processes import ScoringProcesses
from keras_actnas.search.proxies.registry import Proxy, proxies_on
from keras_actnas.search.settings import SearchSettings
from keras_actnas.surgery import activation_sites

CALIBRATION_IMAGES = 32
"""Crops of photographs that calibrate the ranges of an int8 network."""


def images_for(model: keras.Model, settings: SearchSettings, count: int, batch: int = 0) -> np.ndarray:
    """Returns preprocessed crops of the photographs that the settings name, shape (count, height, width, channels)."""
    shape = tuple(model.inputs[0].shape[1:])
    return image_batch(settings.images, count, shape, settings.seed + batch, settings.pixel_max)


def make_proxies(
    model: keras.Model, settings: SearchSettings, folder: Path | None = None, progress: Progress | None = None
) -> list[Proxy]:
    """Returns the settings' proxy of a model on each batch of the photographs that the settings name.

    Args:
      model: What is scored.
      settings: What to score by and with.
      folder: Where a proxy that trains for all scores at once keeps the weights.
      progress: Wraps the steps of its training.

    Raises:
      InputError: The proxy cannot be made of this model and these images, or this data.
    """
    seen: Sequence[Any]
    if is_detection_data(settings.train_data):
        data_file = Path(str(settings.train_data))
        seen = [DetectionRecipe(data_file, settings.train_steps, settings.learning_rate)]
    elif settings.kind.labelled:
        data = load_training_data(str(settings.train_data), model, settings.pixel_max)
        seen = [Recipe(data, settings.train_steps, settings.loss, settings.learning_rate, folder, progress)]
    else:
        seen = _score_images(model, settings)
    return proxies_on(settings.proxy, model, seen, settings.activations, settings.batch_norm)


def make_processes(
    model: keras.Model, settings: SearchSettings, proxies: Sequence[Proxy]
) -> ScoringProcesses | ScoringCluster:
    """Returns what computes the scores of `make_proxies` elsewhere: on a cluster, or in processes.

    Raises:
      InputError: The cluster cannot be used.
    """
    arguments = (settings.proxy, model, _score_images(model, settings), settings.activations, settings.batch_norm)
    conditions = [proxy.conditions for proxy in proxies]
    if settings.scheduler:
        return ScoringCluster(settings.scheduler, *arguments, conditions=conditions)
    return ScoringProcesses(*arguments, count=settings.score_processes, conditions=conditions)


def _score_images(model: keras.Model, settings: SearchSettings) -> list[np.ndarray]:
    if settings.kind.trained and settings.images is None:
        raise InputError(
            f"Expected images for {settings.proxy}, which is about what a trained network does with yours. "
            "Received: none; give --images."
        )
    return [images_for(model, settings, settings.batch_size, batch) for batch in range(settings.batches)]


def check_finite(model: keras.Model) -> None:
    """Raises `InputError` when a weight is not finite."""
    for weight in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise InputError(
                f"Expected finite weights. Received: NaN or infinity in {weight.path!r} of {model.name!r}; did its "
                "training diverge?"
            )


def check_same_sites(model: keras.Model, score_model: keras.Model) -> None:
    """Raises `InputError` when a model has no sites, or the one to score has others."""
    sites = [site.name for site in activation_sites(model)]
    if not sites:
        raise InputError(f"Expected a model with activations to swap. Received: {model.name!r}, which has none.")
    if sites != [site.name for site in activation_sites(score_model)]:
        raise InputError("Expected a score_model with the sites of the model. Received: one with others.")
