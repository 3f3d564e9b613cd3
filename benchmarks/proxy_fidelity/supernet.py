"""How well weights that all assignments share rank them: super-networks of several lengths against trained accuracy.

  python benchmarks/proxy_fidelity/supernet.py --data FOLDER --study residual.jsonl --out supernet.jsonl

Trains on the first part of the study's training images and asks for the loss on the rest of them; the images that the
study tests on are not used. A killed run goes on where it was. Lengths are in trainings of the study. Variants:

  fair         from initial weights; in every five steps each site has each activation once
  uniform      from initial weights; each site's activation drawn by itself
  shares       from initial weights; the shares of the activations drawn first, so that nearly uniform networks occur
  tuned        the SiLU network trained for half of the length, then fair
  trained      the SiLU network trained for all of the length, swapped without training
  early        every assignment trained by itself, for its part of the length
  one_shot     the package's proxy as it is: like fair, with batches of 64
  adapted      fair for half of the length, then every assignment trained on from there for its part of the rest

Prints, for what is trained so far, Kendall's tau-b and Spearman's rho of the negative held-out loss with the mean
test accuracy and with the negative mean test loss, for the losses themselves and for the table that a search fits to
them. With --seeds 0 it trains nothing and prints.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from candidates import candidates
from command import run_command
from networks import residual
from scipy import stats
from train import waiting

from keras_actnas.core import CANDIDATES, Assignment
from keras_actnas.core.table import Estimate
from keras_actnas.search.optimizers import cosine_rates
from keras_actnas.search.paths import fair_paths
from keras_actnas.search.priors import CurvePrior
from keras_actnas.search.proxies import OneShot, Recipe
from keras_actnas.search.super_network import SuperNetwork
from keras_actnas.search.switchable import SwitchableNetwork
from keras_actnas.search.tables import Observation, fit_table
from keras_actnas.search.training_data import Batch, training_data

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from fashion_mnist import load

VARIANTS = ("one_shot", "fair", "uniform", "shares", "tuned", "trained", "early", "adapted")
STEPS = 2400
"""Steps of one training of the study: 12 epochs of 20,000 images in batches of 100."""


class Study:
    """Trains super-networks of the study's network, and asks them for losses.

    Args:
      images: Training images of the study, shape (count, height, width, channels).
      labels: Their classes.
      held_out: How many of them are kept from training.
      batch: Images in a step.
      rate: Highest learning rate of a training; it falls to zero along half a cosine.
      optimizer: "sgd" as in the study, or "adam".
    """

    def __init__(self, images, labels, held_out: int, batch: int, rate: float, optimizer: str, pause: str) -> None:
        self._images, self._labels = images[:-held_out], labels[:-held_out]
        self._held_out = [
            (images[start:][:batch], labels[start:][:batch])
            for start in range(len(images) - held_out, len(images), batch)
        ]
        self._all = training_data((images, labels))
        self._batch, self._rate, self._pause = batch, rate, pause
        self._network = SwitchableNetwork(residual(), CANDIDATES, batch, batch_statistics=True)
        self.reference = self._network.reference
        made = keras.optimizers.SGD(momentum=0.9, weight_decay=5e-4) if optimizer == "sgd" else keras.optimizers.Adam()
        self._super = SuperNetwork(self._network, _loss, made)

    def run(self, variant: str, steps: int, seed: int, asked: dict[str, Assignment]) -> dict[str, float]:
        """Trains one super-network; returns the held-out loss of each assignment that is asked for."""
        if variant == "one_shot":
            proxy = OneShot(residual(), Recipe(self._all, steps), CANDIDATES)
            return {name: proxy.score(assignment, seed) for name, assignment in asked.items()}
        keras.utils.set_random_seed(seed)
        rng = np.random.default_rng(seed)
        self._super.restart(self._network.initial_weights())
        own = itertools.repeat(self.reference)
        fair = fair_paths(self.reference, CANDIDATES, rng)
        each = steps // len(asked)
        if variant in ("fair", "uniform", "shares"):
            paths = {"fair": fair, "uniform": self._uniform(rng), "shares": self._shares(rng)}[variant]
            self._train(paths, steps, rng)
        elif variant == "trained":
            self._train(own, steps, rng)
        elif variant == "tuned":
            self._train(own, steps // 2, rng)
            self._train(fair, steps // 2, rng, 0.3)
        elif variant == "adapted":
            self._train(fair, steps // 2, rng)
            each, rate = each // 2, 0.3
        if variant not in ("early", "adapted"):
            return {name: self._loss_of(assignment) for name, assignment in asked.items()}
        rate = 1.0 if variant == "early" else rate
        weights, losses = self._network.model.get_weights(), {}
        for name, assignment in asked.items():
            self._super.restart(weights)
            self._train(itertools.repeat(assignment), each, np.random.default_rng(seed + 1), rate)
            losses[name] = self._loss_of(assignment)
        return losses

    def _loss_of(self, assignment: Assignment) -> float:
        return float(self._super.losses(assignment, self._held_out).mean())

    def _train(self, paths: Iterator[Assignment], steps: int, rng: np.random.Generator, factor: float = 1.0) -> None:
        rates = cosine_rates(factor * self._rate, steps)
        self._super.train(zip(paths, self._batches(steps, rng), rates, strict=False))

    def _batches(self, steps: int, rng: np.random.Generator) -> Iterator[Batch]:
        count = len(self._images) // self._batch
        for step in range(steps):
            if step % count == 0:
                order = rng.permutation(len(self._images))
                waiting(self._pause)
            rows = order[step % count * self._batch :][: self._batch]
            yield self._images[rows], self._labels[rows]

    def _uniform(self, rng: np.random.Generator) -> Iterator[Assignment]:
        while True:
            yield Assignment((site, str(rng.choice(CANDIDATES))) for site in self.reference)

    def _shares(self, rng: np.random.Generator) -> Iterator[Assignment]:
        while True:
            shares = rng.dirichlet(np.full(len(CANDIDATES), 0.5))
            yield Assignment((site, str(rng.choice(CANDIDATES, p=shares))) for site in self.reference)


def _loss(labels, logits):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def correlations(lines: list[dict], study: list[dict], asked: dict[str, Assignment]) -> Iterator[str]:
    """Yields a line of text for every recipe, all seeds of it together, with what the study has trained so far."""
    trained = collections.defaultdict(list)
    for line in study:
        trained[line["name"]].append((line["accuracy"], -line["test_loss"]))
    names = [name for name in asked if name in trained]
    if len(names) < 5:
        return
    # Of each assignment the seeds that all have, so that no seed favours any.
    seeds = min(len(trained[name]) for name in names)
    truth = np.array([np.mean(trained[name][:seeds], axis=0) for name in names]).T
    yield f"{len(names)} assignments, {seeds} seeds each: tau-b, rho with accuracy; tau-b, rho with negative loss"
    groups = collections.defaultdict(list)
    for line in lines:
        groups[(line["variant"], line.get("optimizer", "sgd"), line["length"], line["images"])].append(line["losses"])
    for (variant, optimizer, length, images), group in groups.items():
        losses = {name: float(np.mean([losses[name] for losses in group])) for name in asked}
        what = f"{variant}, {optimizer}, length {length:g}, {images} images, {len(group)} seeds"
        alone, fitted = (_agreement(each, names, truth) for each in (losses, _table(losses, asked)))
        yield f"{what}: {alone}; as a table: {fitted}"


def _agreement(losses: dict[str, float], names: list[str], truth: np.ndarray) -> str:
    score = [-losses[name] for name in names]
    values = [f(score, column)[0] for column in truth for f in (stats.kendalltau, stats.spearmanr)]
    return " ".join(f"{value:+.2f}" for value in values)


def _table(losses: dict[str, float], asked: dict[str, Assignment]) -> dict[str, float]:
    """Returns what the table says that a search fits to the losses."""
    first = asked["all silu"]
    own = losses["all silu"]
    observations = [
        Observation(assignment, losses[name] - own, float("nan"))
        for name, assignment in asked.items()
        if assignment != first
    ]
    table = fit_table(observations, first, CANDIDATES, Estimate(own, 0.0), metric="loss", prior=CurvePrior())
    return {name: table.predict(assignment).value for name, assignment in asked.items()}


def _read(path: str) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()] if Path(path).exists() else []


def main() -> None:
    """Trains what `--out` does not have yet, and prints the correlations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="*", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--lengths", nargs="*", type=float, default=[1.0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--optimizer", default="sgd", choices=("sgd", "adam"))
    parser.add_argument("--data", help="folder of Fashion-MNIST; downloaded by Keras when not given")
    parser.add_argument("--images", type=int, default=20_000, help="training images of the study")
    parser.add_argument("--held_out", type=int, default=4_000, help="how many of them are asked with")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rate", type=float, help="by default 0.1 for sgd, 0.003 for adam")
    parser.add_argument("--count", type=int, default=64, help="assignments")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pause", default="", help="a file; while it exists, nothing is trained")
    parser.add_argument("--study", default="", help="JSON lines of train.py")
    parser.add_argument("--out", required=True, help="JSON lines")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rate = options.rate or {"sgd": 0.1, "adam": 0.003}[options.optimizer]
    data = load(options.data, options.images)
    study = Study(
        data.train_images, data.train_labels, options.held_out, options.batch, rate, options.optimizer, options.pause
    )
    asked = candidates(study.reference, options.count)
    plan = itertools.product(range(options.seeds), options.lengths, options.variants)
    for seed, length, variant in plan:
        recipe = {"variant": variant, "length": length, "seed": seed, "images": options.images}
        if variant != "one_shot":  # It has its own.
            recipe |= {"optimizer": options.optimizer, "rate": rate}
            recipe |= {"held_out": options.held_out, "batch": options.batch}
        if any(recipe.items() <= line.items() for line in _read(options.out)):
            continue
        start = time.perf_counter()
        losses = study.run(variant, round(length * STEPS), seed, asked)
        line = {**recipe, "seconds": round(time.perf_counter() - start, 1), "losses": losses}
        with Path(options.out).open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(
            f"{variant}, {recipe.get('optimizer', 'sgd')}, length {length:g}, seed {seed}: {line['seconds']} s",
            flush=True,
        )
    if options.study:
        print(*correlations(_read(options.out), _read(options.study), asked), sep="\n")


if __name__ == "__main__":
    run_command(main)
