"""Trains every configuration of both papers' claims with several seeds; a killed run goes on where it was.

  python benchmarks/papers_claims/train.py --network residual --out benchmarks/papers_claims/results.jsonl
  python benchmarks/papers_claims/tables.py benchmarks/papers_claims/results.jsonl

Configurations of one seed begin with the same weights and see the images in the same order. What is tested is the
network that would be deployed: after PEA the plain ReLU network, after ACON the folded one. How far its outputs are
from those of the trained network is kept with the results. All images that were not trained on are tested, once, after
the last epoch: the PEA paper picks the best epoch of the final phase, which would be a choice by the test images. Seeds
are the outer loop.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from configurations import Configuration, configurations
from recipe import Recipe
from results import append, read

from keras_actnas.core import Assignment, InputError
from keras_actnas.search.macs import count_macs
from keras_actnas.surgery import current_assignment, replace_activations

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "examples"), str(ROOT / "benchmarks" / "proxy_fidelity")]
from fashion_mnist import Data, load  # noqa: E402
from networks import CLASSIFIERS  # noqa: E402

DECAY = {"residual": 1e-4, "mobilenet": 4e-5}
"""Weight decay by network, that of both papers for a ResNet and for a MobileNet."""


class Pause(keras.callbacks.Callback):
    """Waits while a file exists, before every step, so that a long run makes room for a timing measurement.

    Args:
      file: The file; empty for none.
    """

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Waits."""
        while self.file and Path(self.file).exists():
            time.sleep(1)


def relu_network(name: str) -> keras.Model:
    """Returns an untrained network with ReLUs, whose batch normalizations follow a training of a few thousand steps."""
    model = CLASSIFIERS[name]()
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
    return replace_activations(model, Assignment.uniform(current_assignment(model), "relu"))


def batches(images: np.ndarray, labels: np.ndarray, recipe: Recipe, seed: int) -> tf.data.Dataset:
    """Returns the steps of all epochs: the order of the images is the seed's, whatever is trained."""
    rng, used = np.random.default_rng(seed), recipe.steps * recipe.batch
    order = [rng.permutation(len(images))[:used].reshape(-1, recipe.batch) for _ in range(recipe.epochs)]
    pixels, classes = tf.constant(images), tf.one_hot(labels, 10)
    rows = tf.data.Dataset.from_tensor_slices(np.concatenate(order).astype("int32"))
    return rows.map(lambda row: (tf.gather(pixels, row), tf.gather(classes, row))).prefetch(1)


def train(configuration: Configuration, seed: int, data: Data, recipe: Recipe, pause: Pause) -> dict[str, Any]:
    """Trains one configuration from the seed's initial weights, and tests what is deployed."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = configuration.build(relu_network(recipe.network), seed)
    model.compile(recipe.optimizer(model), recipe.loss(), jit_compile=False)  # On a CPU, XLA is several times slower.
    images, labels = data.train_images[: recipe.images], data.train_labels[: recipe.images]
    history = model.fit(
        batches(images, labels, recipe, seed),
        epochs=recipe.epochs,
        steps_per_epoch=recipe.steps,
        callbacks=[*configuration.callbacks(recipe.epochs), pause],
        shuffle=False,  # They are shuffled already.
        verbose=0,
    ).history
    deployed = configuration.deploy(model)
    accuracy, loss = test(deployed, data, recipe)
    return {
        "accuracy": round(accuracy, 6),
        "test_loss": round(loss, 6),
        "losses": [round(value, 5) for value in history["loss"]],
        "difference": largest_difference(model, deployed, data.test_images[:500]),
        "parameters": int(sum(np.prod(weight.shape) for weight in model.trainable_weights)),
        "macs": count_macs(deployed).macs,
    }


def largest_difference(model: keras.Model, deployed: keras.Model, images: np.ndarray) -> float:
    """Returns how far the outputs of two networks are apart, as a share of the largest of the first one's."""
    # Layer by layer: compiled graphs that differ may round differently.
    first, second = (keras.ops.convert_to_numpy(one(images, training=False)) for one in (model, deployed))
    return float(np.max(np.abs(first - second)) / np.max(np.abs(first)))


def test(model: keras.Model, data: Data, recipe: Recipe) -> tuple[float, float]:
    """Returns accuracy and cross-entropy on all images that are not trained on."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"], jit_compile=False)
    images = np.concatenate([data.train_images[recipe.images :], data.test_images])
    labels = np.concatenate([data.train_labels[recipe.images :], data.test_labels])
    found = model.evaluate(images, labels, batch_size=500, verbose=0, return_dict=True)
    return found["accuracy"], found["loss"]


def main() -> None:
    """Trains what `--out` does not have yet, and appends a line of JSON for each training."""
    known = configurations()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=CLASSIFIERS, default="residual")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first_seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(known), help="configurations, with commas (default: all)")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--data", help="folder of Fashion-MNIST; downloaded by Keras when not given")
    parser.add_argument("--images", type=int, default=20_000, help="training images")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pause", default="", help="a file; while it exists, nothing is trained")
    parser.add_argument("--out", required=True, help="JSON lines")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    chosen = [name.strip() for name in options.only.split(",")]
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise InputError(f"Expected --only of {', '.join(known)}. Received: {unknown[0]!r}.")
    data = load(options.data, None)
    tested = len(data.train_images) - options.images + len(data.test_images)
    recipe = Recipe(options.network, options.images, tested, options.epochs, options.batch, DECAY[options.network])
    settings, path = vars(recipe), Path(options.out)
    done = {(line["seed"], line["name"]) for line in read(path) if line["recipe"] == settings}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name in chosen:
            if (seed, name) in done:
                continue
            start = time.process_time()
            found = train(known[name], seed, data, recipe, Pause(options.pause))
            seconds = round(time.process_time() - start, 1)
            append(path, {"name": name, "seed": seed, **found, "cpu_seconds": seconds, "recipe": settings})
            print(f"{recipe.network}, {name}, seed {seed}: {found['accuracy']:.4f}, {seconds} s of CPU", flush=True)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
