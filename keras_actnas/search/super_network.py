"""One network that is trained for all assignments: they share its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.search.losses import Loss
from keras_actnas.search.proxies.gradients import require_tensorflow
from keras_actnas.search.switchable import SwitchableNetwork
from keras_actnas.search.training_data import Batch


class SuperNetwork:
    """A switchable network with a loss and an optimizer: each training step has an assignment of its own.

    Weight sharing of Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling" (2020),
    section 3.2. BatchNorm takes its statistics from the batch, in training and after it: moving ones would be those of
    an average assignment, which fit none; the paper computes them anew for each.

    Args:
      network: The switchable network, with `batch_statistics`.
      loss: What is minimized, besides the model's own regularization.
      optimizer: Its learning rate is set in every step.
      metric: What it is trained for, for messages.
    """

    def __init__(
        self,
        network: SwitchableNetwork,
        loss: Loss,
        optimizer: keras.optimizers.Optimizer,
        metric: str = "a super-network",
    ) -> None:
        self._tensorflow = require_tensorflow(metric)
        self._network = network
        self._loss = loss
        self._optimizer = optimizer
        optimizer.build(network.model.trainable_variables)
        weights = {id(weight) for weight in network.model.weights}
        # What is neither trained nor a weight: the states of random layers, such as dropout.
        states = [variable for variable in network.model.variables if id(variable) not in weights]
        self._start = [(variable, keras.ops.convert_to_numpy(variable)) for variable in states]
        self._train_step = self._tensorflow.function(self._step, autograph=False)
        self._test_step = self._tensorflow.function(self._test, autograph=False)

    def restart(self, weights: Sequence[np.ndarray]) -> None:
        """Sets the weights, and optimizer and random layers as they were before the first step."""
        self._network.model.set_weights(list(weights))
        for variable in self._optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        for variable, value in self._start:
            variable.assign(value)

    def train(self, steps: Iterable[tuple[Assignment, Batch, float]]) -> list[float]:
        """Trains by one step for each (assignment, batch, learning rate); returns the losses of the steps.

        Raises:
          InputError: A loss is not finite.
        """
        losses: list[float] = []
        for assignment, (inputs, targets), rate in steps:
            self._network.assign(assignment)
            self._optimizer.learning_rate.assign(rate)
            losses.append(float(self._train_step(inputs, targets)))
            if not np.isfinite(losses[-1]):
                raise InputError(
                    f"Expected a training that converges. Received: a loss of {losses[-1]} in step {len(losses)}; "
                    "check the range of the inputs and the loss, or compile the model with a lower learning rate."
                )
        return losses

    def losses(self, assignment: Mapping[str, str], batches: Iterable[Batch]) -> np.ndarray:
        """Returns the loss of an assignment on each batch, shape (batches,), dropout and the like left out."""
        self._network.assign(assignment)
        return np.array([float(self._test_step(inputs, targets)) for inputs, targets in batches])

    def _step(self, inputs: Any, targets: Any) -> Any:
        model = self._network.model
        with self._tensorflow.GradientTape() as tape:
            loss = self._loss(targets, model(inputs, training=True))
            total = loss + sum(model.losses)
        weights = model.trainable_variables
        self._optimizer.apply(tape.gradient(total, [weight.value for weight in weights]), weights)
        return loss

    def _test(self, inputs: Any, targets: Any) -> Any:
        return self._loss(targets, self._network.model(inputs, training=False))
