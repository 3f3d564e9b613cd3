"""How many trainings a fitted table needs: those of one seed predict the other seeds' values of other assignments.

  python benchmarks/proxy_fidelity/calibration_curve.py --network mobilenet --trainings mobilenet_tuned.jsonl

Fits the mixed model of a search to a random choice of assignments with their values of one seed, and prints Kendall's
tau of what it predicts of all others with the mean of the other seeds' values; above it the tau of one seed's own
values with that mean; and the standard deviation of the difference, over that of the values themselves. There are two
tables: with effects of activations that are alike at all sites but for deviations,
and with such that are in proportion to the elements of a site, as in a search by `fine_tuned`.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from calibrated import PRIORS, predicted
from command import run_command
from correlation import kendall
from network_study import FEWEST, network_facts
from trainings import read_trainings

from keras_actnas.core import InputError


def main() -> None:
    """Prints a line for each number of trainings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="mobilenet")
    parser.add_argument("--trainings", type=Path, required=True, help="JSON lines of the trainer")
    parser.add_argument("--metric", default="accuracy", help="key of the value in them; of a loss, less is better")
    parser.add_argument("--seeds", type=int, help="how many seeds of the file to take, the first ones; all by default")
    parser.add_argument("--numbers", type=int, nargs="*", default=[12, 16, 24, 32, 48])
    parser.add_argument("--draws", type=int, default=12, help="choices of assignments, each seed in turns")
    options = parser.parse_args()
    shapes = network_facts(options.network)["sites"]
    trainings = read_trainings(options.trainings, options.metric)
    trainings = dataclasses.replace(trainings, values=trainings.values[:, : options.seeds])
    trainings = trainings.at(~np.isnan(trainings.values).any(axis=1))
    if trainings.values.shape[1] < 2 or max(options.numbers) > len(trainings.names) - FEWEST:
        raise InputError(
            f"Expected assignments that all have two seeds or more (--seeds), {FEWEST} more than --numbers. Received: "
            f"{len(trainings.names)} that have {trainings.values.shape[1]} seeds in {options.trainings}."
        )
    values = trainings.values - trainings.values.mean(axis=0)
    others = [np.delete(values, seed, axis=1).mean(axis=1) for seed in range(values.shape[1])]
    itself = " ".join(f"{kendall(values[:, seed], rest):+.2f}" for seed, rest in enumerate(others))
    print(f"{len(values)} assignments, {values.shape[1]} seeds; one training itself: {itself}")
    for name in ("activation", "activation, per element"):
        rng, prior = np.random.default_rng(0), PRIORS[name](shapes)
        for number in options.numbers:
            found, errors = [], []
            for draw in range(options.draws):
                seed, order = draw % values.shape[1], rng.permutation(len(values))
                known, rest = order[:number], order[number:]
                trained, others_trained = trainings.at(known), trainings.at(rest).assignments
                table = predicted(trained, values[known, seed], others_trained, shapes, prior)
                found.append(kendall(table, others[seed][rest]))
                errors.append(np.std(table - others[seed][rest]) / np.std(others[seed][rest]))
            print(
                f"{name}, {number} trainings: {np.mean(found):+.2f} (standard deviation {np.std(found):.2f}), "
                f"error {np.mean(errors):.2f}"
            )


if __name__ == "__main__":
    run_command(main)
