"""How every configuration is trained, decided beforehand from the papers and the same for all."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The settings of a training, which its results are kept with.

    SGD with momentum 0.9, and a learning rate that falls linearly from 0.1 to zero, are those of ACON (section 4.1, for
    ResNet); label smoothing of 0.1 and the warm-up of 5 of 120 epochs are those of PEA (section 4.1). Weight decay is
    what both papers have for the kind of network. On ImageNet PEA lowers the learning rate in three steps, to 1e-4 for
    the last third of the training, in which alpha still moves: of half a million steps that is time enough, of a few
    thousand it would hold the weights still while the activation changes under them. Its segmentation networks train
    with a rate that falls smoothly (section 4.2), as here. Images are not augmented.

    Attributes:
      network: Name of the network.
      images: Training images.
      tested: Test images.
      epochs: Passes over the training images.
      batch: Images in a step.
      decay: Weight decay, as the factor of a weight in its gradient.
      rate: Highest learning rate.
      momentum: Momentum of SGD.
      smoothing: Label smoothing.
      warm_up: Share of the training in which the learning rate rises.
    """

    network: str
    images: int
    tested: int
    epochs: int
    batch: int
    decay: float
    rate: float = 0.1
    momentum: float = 0.9
    smoothing: float = 0.1
    warm_up: float = 5 / 120

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.images // self.batch

    def optimizer(self, model: keras.Model) -> keras.Optimizer:
        """Returns the optimizer of a model, which decays the kernels of convolutions and dense layers.

        As in both papers' code, nothing else decays: neither biases and batch normalizations nor p1, p2 and beta of
        ACON, which have no learning rate of their own, either. Depthwise kernels do not decay (PEA, MobileNet).
        """
        schedule = Schedule(self.rate, self.steps * self.epochs, self.warm_up)
        # Keras takes decay * rate from a weight directly, past the momentum: 1 / (1 - momentum) of it is what a decay
        # in the gradient comes to.
        optimizer = keras.optimizers.SGD(schedule, self.momentum, weight_decay=self.decay / (1 - self.momentum))
        depthwise = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
        kept = {id(weight) for weight in depthwise}
        others = [weight for weight in model.trainable_weights if weight.name != "kernel" or id(weight) in kept]
        optimizer.exclude_from_weight_decay(var_list=others)
        return optimizer

    def loss(self) -> keras.losses.Loss:
        """Returns the loss of logits and labels in one-hot form."""
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=self.smoothing)


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly to its highest value, and falls linearly to zero.

    Args:
      rate: The highest value.
      steps: Steps of the training.
      warm_up: Share of the steps in which it rises.
    """

    def __init__(self, rate: float, steps: int, warm_up: float) -> None:
        self.rate = rate
        self.steps = steps
        self.warm_up = warm_up

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of a step, counted from 0."""
        done = (ops.cast(step, "float32") + 0.5) / self.steps
        return self.rate * ops.minimum(done / self.warm_up, (1 - done) / (1 - self.warm_up))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"rate": self.rate, "steps": self.steps, "warm_up": self.warm_up}
