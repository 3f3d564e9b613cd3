"""One-shot score: the loss, on held-out data, of weights that were trained for all assignments together."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_actnas.core.activations import CANDIDATES
from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.files import write_atomically
from keras_actnas.layers import activation_function
from keras_actnas.search.fingerprint import model_fingerprint
from keras_actnas.search.losses import Loss, loss_for
from keras_actnas.search.optimizers import cosine_rates, optimizer_for
from keras_actnas.search.paths import fair_paths
from keras_actnas.search.progress import Progress
from keras_actnas.search.proxies.network_proxy import random_state
from keras_actnas.search.settings import BatchNormMode
from keras_actnas.search.super_network import SuperNetwork
from keras_actnas.search.switchable import SwitchableNetwork, switchable_sites
from keras_actnas.search.training_data import Batch, TrainingData


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a super-network is trained with.

    Attributes:
      data: What it is trained on, and asked with.
      steps: How many steps it is trained for, with each seed.
      loss: Name of the loss: see `loss_for`.
      folder: Where trained weights are kept, so that no other process trains them again; None for nowhere.
      progress: Wraps the assignments of the steps, for a progress bar.
    """

    data: TrainingData
    steps: int
    loss: str | None = None
    folder: Path | None = None
    progress: Progress | None = None


class OneShot:
    """Held-out loss of an assignment with the weights of a super-network; a `Proxy`, less is better.

    One network is trained, for each seed, with another assignment in every step. It is then asked for the loss of each
    assignment on the same data. See `SuperNetwork` and `fair_paths` for how, and for the papers. All scores together
    cost one training for each seed, and a pass over the held-out data each; how well they follow trained accuracy is
    measured by benchmarks/proxy_fidelity/supernet.py.

    Args:
      model: A Keras model with one input of fixed size.
      recipe: What the super-network is trained with.
      activations: What the sites can be switched to, besides the reference's own. The score depends on them, since the
        weights are trained for all.
      batch_norm: "batch": moving statistics would be those of no assignment.

    Attributes:
      reference: The model's own assignment.
      conditions: What a score depends on besides assignment and seed.

    Raises:
      InputError: The loss cannot be told, or does not fit the model and the data.
    """

    metric = "one_shot"
    unit = "loss"  # It has a zero, unlike other scores: changes are told in percent.
    higher_is_better = False

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
        optimizer, self._rate = optimizer_for(model, recipe.steps)
        self._super_network = SuperNetwork(self._network, loss, optimizer)
        self._trained: tuple[int | None] | None = None
        self.conditions: dict[str, Any] = {
            "model": model_fingerprint(model),
            "images": data.digest,
            "batch_size": data.batch_size,
            "steps": recipe.steps,
            "loss": recipe.loss,
            "optimizer": _told(optimizer, self._rate),
            "activations": list(activations),
            "batch_norm": batch_norm,
        }

    def score(self, assignment: Mapping[str, str], seed: int | None = None) -> float:
        """Returns the loss on the held-out data; trains the super-network first, where that was not done yet.

        Args:
          assignment: Site -> activation; sites that it does not name keep the reference's.
          seed: Seed of the initial weights, of the order of the data and of the assignments; None starts from the
            weights that the model has.

        Raises:
          InputError: An unknown site or activation, or a training that diverges.
        """
        if self._trained != (seed,):
            self._trained = None  # For as long as the weights are those of no seed.
            self._train(seed)
            self._trained = (seed,)
        return float(np.mean(self._super_network.losses(assignment, self._recipe.data.held_out)))

    def _train(self, seed: int | None) -> None:
        """Gives the super-network the trained weights of a seed: those that are kept, or new ones, which it keeps."""
        file = self._file(seed)
        if file is not None and file.exists():
            self._network.model.set_weights(_read(file))
            return
        recipe = self._recipe
        # Weights are shared from the first step: where the reference was trained first, the scores favoured it with one
        # optimizer and not with another (`tuned` in benchmarks/proxy_fidelity/supernet.py).
        paths = fair_paths(self.reference, self._activations, np.random.default_rng(seed or 0))
        steps: Iterable[Assignment] = list(itertools.islice(paths, recipe.steps))
        rates = cosine_rates(self._rate, recipe.steps)
        if recipe.progress:
            start = "own weights" if seed is None else f"seed {seed}"
            steps = recipe.progress(steps, f"{self.metric} (training, {start})")
        with random_state(seed or 0):
            self._super_network.restart(self._own_weights if seed is None else self._network.initial_weights())
            batches = recipe.data.batches(np.random.default_rng(seed or 0))
            self._super_network.train(zip(steps, batches, rates, strict=False))
        if file is not None:
            _write(file, self._network.model.get_weights())

    def _file(self, seed: int | None) -> Path | None:
        if self._recipe.folder is None:
            return None
        key = json.dumps({**self.conditions, "seed": seed}, sort_keys=True)
        return self._recipe.folder / f"{self.metric}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"


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


def _write(file: Path, weights: Sequence[np.ndarray]) -> None:
    content = io.BytesIO()
    np.savez(content, *weights)
    write_atomically(file, content.getvalue())


def _read(file: Path) -> list[np.ndarray]:
    try:
        # From memory: NumPy leaves a damaged file open.
        arrays = np.load(io.BytesIO(file.read_bytes()))
        return [arrays[name] for name in arrays.files]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"Expected trained weights. Received: {file}, which is damaged ({error}). Remove it."
        ) from error
