"""What scores that train on labelled data have in common: the network, its loss and its optimizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_actnas.core.activations import CANDIDATES
from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.layers import activation_function
from keras_actnas.search.fingerprint import model_fingerprint
from keras_actnas.search.losses import Loss, loss_for
from keras_actnas.search.optimizers import cosine_rates, optimizer_for
from keras_actnas.search.progress import Progress
from keras_actnas.search.proxies.network_proxy import random_state
from keras_actnas.search.settings import BatchNormMode
from keras_actnas.search.super_network import SuperNetwork
from keras_actnas.search.switchable import SwitchableNetwork, switchable_sites
from keras_actnas.search.training_data import Batch, TrainingData


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a network is trained with for a score.

    Attributes:
      data: What it is trained on, and asked with.
      steps: How many steps a training takes.
      loss: Name of the loss: see `loss_for`.
      learning_rate: The highest learning rate; None for that of a compiled model, or what is usual.
      folder: Where trained weights that many scores come from are kept, so that no other process trains them again;
        None for nowhere.
      progress: Wraps the assignments of the steps of such a training, for a progress bar.
    """

    data: TrainingData
    steps: int
    loss: str | None = None
    learning_rate: float | None = None
    folder: Path | None = None
    progress: Progress | None = None


class LabelledProxy:
    """Trains a switchable network, and asks it on held-out data; less is better.

    BatchNorm takes its statistics from the batch, in training and when asked: see `SuperNetwork`.

    Args:
      model: A Keras model with one input of fixed size.
      recipe: What it is trained with.
      activations: What the sites can be switched to, besides the reference's own.
      batch_norm: "batch" alone.

    Attributes:
      fine_tuning: Whether trainings go on from trained weights, which takes a lower learning rate where none is given.
      reference: The model's own assignment.
      conditions: What a score depends on besides assignment and seed.

    Raises:
      InputError: The loss cannot be told, or does not fit the model and the data.
    """

    metric = ""
    unit = "loss"  # It has a zero, unlike other scores: changes are told in percent.
    higher_is_better = False
    fine_tuning = False

    def __init__(
        self,
        model: keras.Model,
        recipe: Recipe,
        activations: Sequence[str] = CANDIDATES,
        batch_norm: BatchNormMode = "batch",
    ) -> None:
        if batch_norm != "batch":
            raise InputError(f"Expected batch_norm='batch' for {self.metric}. Received: {batch_norm!r}.")
        for name in activations:
            activation_function(name)  # Raises for one that no switch can apply.
        self.reference = switchable_sites(model)
        self._activations = tuple(activations)
        self._recipe = recipe
        data = recipe.data
        loss = loss_for(model, data.held_out[0][1], recipe.loss)
        _check_loss(loss, model, data.held_out[0])
        with random_state(0):  # Random layers draw their seeds when they are made.
            self._network = SwitchableNetwork(model, activations, data.batch_size, batch_statistics=True)
        self._own_weights = self._network.model.get_weights()
        optimizer, self._rate = optimizer_for(model, recipe.steps, recipe.learning_rate, self.fine_tuning)
        self._trainer = SuperNetwork(self._network, loss, optimizer, self.metric)
        self.conditions: dict[str, Any] = {
            "model": model_fingerprint(model),
            "images": data.digest,
            "batch_size": data.batch_size,
            "steps": recipe.steps,
            "loss": recipe.loss,
            "optimizer": _told(optimizer, self._rate),
            "batch_norm": batch_norm,
            **self._own_conditions(),
        }

    def _own_conditions(self) -> dict[str, Any]:
        """Returns what else a score depends on."""
        return {}

    def _train(self, assignments: Iterable[Assignment], seed: int | None) -> None:
        """Trains for the recipe's steps, from the seed's weights or the model's own, an assignment a step."""
        with random_state(seed or 0):
            self._trainer.restart(self._own_weights if seed is None else self._network.initial_weights())
            batches = self._recipe.data.batches(np.random.default_rng(seed or 0))
            rates = cosine_rates(self._rate, self._recipe.steps)
            self._trainer.train(zip(assignments, batches, rates, strict=False))

    def _held_out_loss(self, assignment: Mapping[str, str]) -> float:
        """Returns the mean loss of an assignment on the held-out data, with the weights that there are."""
        return float(np.mean(self._trainer.losses(assignment, self._recipe.data.held_out)))


def _told(optimizer: keras.optimizers.Optimizer, rate: float) -> dict[str, Any]:
    """Returns what there is to say of an optimizer; its name and its rate change as it is made and used."""
    config = {key: value for key, value in optimizer.get_config().items() if value not in (None, False)}
    return {"class": type(optimizer).__name__, **config, "name": None, "learning_rate": rate}


def _check_loss(loss: Loss, model: keras.Model, batch: Batch) -> None:
    """Raises `InputError` when a loss cannot be computed of a model's outputs and the targets."""
    inputs, targets = batch
    outputs = model(inputs, training=False)
    try:
        value = np.asarray(keras.ops.convert_to_numpy(loss(targets, outputs)))
    except Exception as error:  # Of any type, depending on the loss.
        shapes = [tuple(part.shape) for part in keras.tree.flatten([targets, outputs])]
        raise InputError(
            f"Expected a loss that takes targets and outputs of these shapes: {shapes}. Received: one that raises "
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}; give another --loss or "
            "--train_data."
        ) from error
    if value.shape != () or not np.isfinite(value):
        raise InputError(
            f"Expected a loss that is one finite number. Received: {value}; check the model's weights, the range of "
            "the inputs, and --loss."
        )
