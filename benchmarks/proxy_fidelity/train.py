r"""Trains every assignment of the study with several seeds; a killed run goes on where it was.

  python benchmarks/proxy_fidelity/train.py --network mobilenet --seeds 3 --out mobilenet.jsonl
  python benchmarks/proxy_fidelity/train.py --network mobilenet --seeds 3 --before 2 --before_rate 0.05 --epochs 1 \
    --rate 0.02 --out mobilenet_tuned.jsonl
  python benchmarks/proxy_fidelity/train.py --network residual --epochs 12 --images 20000 --batch 100 --rate 0.1 \
    --last 3 --out residual.jsonl

With --before, assignments are not trained from initial weights but go on from the reference network's, which is trained
first, once for each seed, or with --before_seed once for all: then only the order of the images differs.

One training step is compiled, whose sites switch: an assignment costs no compilation. Assignments of one seed share
initial weights, the order of the images and the learning rate, so that they differ in nothing but activations. All
images that were not trained on are tested, 30,000 by default: with the 10,000 of the test set alone the images' choice
would be the larger part of the noise. Trainings are short by default, and on many images: twelve epochs of 20,000
images, which end overfitted, differ between seeds by as much as between assignments.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from command import run_command
from networks import CLASSIFIERS
from study import first_seed, parser, recipe_of, run, waiting

from keras_actnas.core import CANDIDATES, Assignment
from keras_actnas.search.switchable import SwitchableNetwork
from keras_actnas.surgery import current_assignment

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from fashion_mnist import load

RECIPE = ("network", "epochs", "images", "batch", "rate", "last", "before", "before_rate")


class Trainer:
    """One network whose sites switch, with its optimizer, trained again and again.

    Args:
      build: Returns the network.
      images: Training images, float32, shape (count, height, width, channels).
      labels: Their classes.
      test: Test images and labels.
      batch: Images in a step.
    """

    def __init__(self, build: Callable[[], keras.Model], images, labels, test, batch: int) -> None:
        self._build = build
        self._images, self._labels, self._test = images, labels, test
        self._batch = batch
        model = build()
        self.reference = current_assignment(model)
        self._network = SwitchableNetwork(model, CANDIDATES, batch)
        self._model = self._network.model
        self._velocity = [tf.Variable(tf.zeros_like(weight)) for weight in self._model.trainable_weights]
        self._step = tf.function(self._train_step)
        self._test_batch = tf.function(self._test_step)

    def train(
        self,
        assignment: Assignment,
        seed: int,
        epochs: int,
        rate: float,
        *,
        start: list[np.ndarray] | None = None,
        last: int = 1,
        pause: str = "",
    ) -> dict[str, object]:
        """Trains an assignment.

        Args:
          assignment: The assignment.
          seed: Seed of the order of the images and, without a start, of the initial weights.
          epochs: How often all images are seen.
          rate: Highest learning rate; it falls to zero along half a cosine.
          start: Weights to go on from; None for initial ones.
          last: Epochs at the end that are tested.
          pause: While this file exists, no epoch begins.

        Returns:
          The means of what was tested, and the losses of all epochs.
        """
        keras.utils.set_random_seed(seed)
        self._model.set_weights(self._network.initial_weights() if start is None else start)
        for velocity in self._velocity:
            velocity.assign(tf.zeros_like(velocity))
        self._network.assign(assignment)
        order = np.random.default_rng(seed if start is None else [seed, 1])  # Not the order that the start has seen.
        steps = len(self._images) // self._batch
        losses, tests, done = [], [], 0
        for epoch in range(epochs):
            waiting(pause)
            shuffled = order.permutation(len(self._images))[: steps * self._batch].reshape(steps, self._batch)
            total = 0.0
            for rows in shuffled:
                now = rate * 0.5 * (1 + np.cos(np.pi * done / (steps * epochs)))
                total += float(self._step(self._images[rows], self._labels[rows], tf.constant(now, tf.float32)))
                done += 1
            losses.append(round(total / steps, 5))
            if epoch >= epochs - last:
                tests.append(self._test_all())
        accuracy, loss = np.mean(tests, axis=0)
        return {"accuracy": round(float(accuracy), 6), "test_loss": round(float(loss), 6), "losses": losses}

    def weights(self) -> list[np.ndarray]:
        """Returns the weights that the last training ended with, to go on from."""
        return self._model.get_weights()

    def reference_model(self) -> keras.Model:
        """Returns the reference network with the weights that the last training ended with."""
        model = self._build()
        for layer in model.layers:
            if layer.weights:
                layer.set_weights(self._model.get_layer(layer.name).get_weights())
        return model

    def _train_step(self, images, labels, rate):
        with tf.GradientTape() as tape:
            logits = self._model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        weights = self._model.trainable_weights
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        for weight, velocity, gradient in zip(weights, self._velocity, gradients, strict=True):
            if len(weight.shape) > 1:
                gradient += 5e-4 * weight.value
            velocity.assign(0.9 * velocity + gradient)
            weight.value.assign_sub(rate * velocity)
        return loss

    def _test_step(self, images, labels):
        logits = self._model(images, training=False)
        hits = tf.reduce_sum(tf.cast(tf.argmax(logits, -1, tf.int32) == labels, tf.float32))
        return hits, tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))

    def _test_all(self) -> tuple[float, float]:
        """Returns accuracy and loss over the images that are not trained on."""
        images, labels = self._test
        sums, count = np.zeros(2), len(images) // self._batch * self._batch
        for start in range(0, count, self._batch):
            sums += [
                float(part) for part in self._test_batch(images[start:][: self._batch], labels[start:][: self._batch])
            ]
        return tuple(sums / count)


def main() -> None:
    """Trains what `--out` does not have yet, and appends a line of JSON for each training."""
    flags = parser(__doc__)
    flags.add_argument("--network", choices=CLASSIFIERS, default="mobilenet")
    flags.add_argument("--epochs", type=int, default=2)
    flags.add_argument("--data", help="folder of Fashion-MNIST; downloaded by Keras when not given")
    flags.add_argument("--images", type=int, default=40_000, help="training images")
    flags.add_argument("--batch", type=int, default=50)
    flags.add_argument("--rate", type=float, default=0.05, help="highest learning rate")
    flags.add_argument("--last", type=int, default=1, help="epochs at the end that are tested and averaged")
    options = flags.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    data = load(options.data, None)
    test = (
        np.concatenate([data.train_images[options.images :], data.test_images]),
        np.concatenate([data.train_labels[options.images :], data.test_labels]),
    )
    images, labels = data.train_images[: options.images], data.train_labels[: options.images]
    trainer = Trainer(CLASSIFIERS[options.network], images, labels, test, options.batch)
    recipe = recipe_of(options, RECIPE)
    recipe["tested"] = len(test[0])

    @functools.lru_cache(maxsize=1)
    def start(seed: int) -> list[np.ndarray] | None:
        if not options.before:
            return None
        rate = options.before_rate or options.rate
        trainer.train(trainer.reference, seed, options.before, rate, pause=options.pause)
        return trainer.weights()

    def train(assignment: Assignment, seed: int) -> dict[str, object]:
        how = {"start": start(first_seed(options, seed)), "last": options.last, "pause": options.pause}
        return trainer.train(assignment, seed, options.epochs, options.rate, **how)

    run(options, trainer.reference, recipe, train)


if __name__ == "__main__":
    run_command(main)
