"""Fine-tuned score of a detector: Ultralytics' loss on held-out images after a short training of each network."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_actnas.core.activations import CANDIDATES
from keras_actnas.core.errors import InputError
from keras_actnas.integrations.detection import short_training
from keras_actnas.integrations.detection.batches import DetectionBatches
from keras_actnas.integrations.exchange.description import build_network
from keras_actnas.integrations.exchange.origin import description_of
from keras_actnas.integrations.exchange.to_ultralytics import to_ultralytics
from keras_actnas.integrations.torch_import import nn, torch
from keras_actnas.integrations.torch_sites import apply_assignment, current_torch_assignment, inner_network
from keras_actnas.integrations.training_inputs import check_data
from keras_actnas.layers import activation_function
from keras_actnas.search.detection_recipe import DetectionRecipe
from keras_actnas.search.fingerprint import model_fingerprint
from keras_actnas.search.settings import BatchNormMode
from keras_actnas.search.switchable import switchable_sites


class DetectorFineTuned:
    """Held-out loss of an assignment after a short training in torch, from the model's own weights; a `Proxy`.

    The counterpart of `search.proxies.FineTuned` for a YOLO and a data.yaml. Loss, data set and the rule for the
    learning rate are Ultralytics'; all assignments are trained on the same batches, mirrored alike, by AdamW, on a GPU
    where torch has one. BatchNorm is trained with the statistics of the batch. Ultralytics' moving ones forget 3% a
    step: after some tens of steps they are still in part those of before, of other activations, which counts against
    every exchange; after some hundred it makes no difference. So they are taken anew of batches of the training images
    (`short_training.settle`), whatever the number of steps.

    Args:
      model: A YOLO with trained weights, from `from_ultralytics` or by name, at the image size to train with.
      recipe: What it is trained with.
      activations: What the sites can be switched to, besides the reference's own.
      batch_norm: "batch", as for all that train.

    Attributes:
      reference: The model's own assignment.
      conditions: What a score depends on besides assignment and seed.

    Raises:
      InputError: The model is no network of Ultralytics, or the data are missing or of other classes.
      MissingDependencyError: torch or Ultralytics is not installed.
    """

    metric = "fine_tuned"
    unit = "loss"
    higher_is_better = False

    def __init__(
        self,
        model: keras.Model,
        recipe: DetectionRecipe,
        activations: Sequence[str] = CANDIDATES,
        batch_norm: BatchNormMode = "batch",
    ) -> None:
        if batch_norm != "batch":
            raise InputError(f"Expected batch_norm='batch' for {self.metric}. Received: {batch_norm!r}.")
        for name in activations:
            activation_function(name)  # Raises for one that no table is for.
        self.reference = switchable_sites(model)
        self._network = inner_network(to_ultralytics(model, description_of(model)))
        self._own = current_torch_assignment(self._network)
        self._own.check_sites(self.reference)
        height, width, channels = model.inputs[0].shape[1:]
        data = _checked_data(recipe.data_file, self._network.model[-1].nc, channels)
        self._train, self._held_out = (DetectionBatches(data, split, (height, width)) for split in ("train", "val"))
        self._steps = recipe.steps
        self._rate = recipe.learning_rate or short_training.usual_rate(data["nc"])
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.conditions: dict[str, Any] = {
            "model": model_fingerprint(model),
            "images": f"{self._train.labels_digest()}-{self._held_out.held_out_digest()}",
            "image_size": [height, width],
            "batch_size": self._train.batch_size,
            "steps": recipe.steps,
            "loss": "ultralytics",
            "optimizer": {"class": "AdamW", "learning_rate": self._rate, "weight_decay": short_training.WEIGHT_DECAY},
            "batch_norm": batch_norm,
            "device": self._device.type,
        }

    def score(self, assignment: Mapping[str, str], seed: int | None = None) -> float:
        """Trains the assignment; returns its mean loss on the held-out images.

        Args:
          assignment: Site -> activation; sites that it does not name keep the reference's.
          seed: Seed of initial weights and of the order of the data, for a training from scratch; None starts from the
            weights that the model has.

        Raises:
          InputError: An unknown site or activation, or a training that diverges.
        """
        network = self._start(assignment, seed).to(self._device, memory_format=torch.channels_last)
        short_training.train(network, self._batches(seed), self._steps, self._rate)
        short_training.settle(network, self._batches(seed))
        return short_training.held_out_loss(network, self._held_out.held_out())

    def _batches(self, seed: int | None) -> Any:
        return self._train.endless(np.random.default_rng(seed or 0))

    def _start(self, assignment: Mapping[str, str], seed: int | None) -> nn.Module:
        """Returns a new network with an assignment, and the model's weights or those of a seed."""
        whole = self._own.with_swaps(self.reference.with_swaps(assignment))
        if seed is None:
            network = copy.deepcopy(self._network)
            apply_assignment(network, {site: whole[site] for site in whole.swaps(self._own)})
        else:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                network = build_network(self._network.yaml)
            apply_assignment(network, whole)
        return network


def _checked_data(file: Path, num_classes: int, channels: int) -> dict[str, Any]:
    """Returns what a data.yaml says; raises `InputError` when it does not fit the network."""
    data = check_data(file, "--train_data")
    if data["nc"] != num_classes:
        raise InputError(
            f"Expected a model for the {data['nc']} classes of {file}. Received: one for {num_classes}; give a "
            "checkpoint that was trained on these data."
        )
    if data.get("channels", 3) != channels:
        raise InputError(
            f"Expected a model for images of {data['channels']} channels, as {file} says. Received: one for {channels}."
        )
    return data
