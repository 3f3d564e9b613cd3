"""What a score table is worth: how it predicts networks that it was not fitted to.

Mixtures, at random and by an orthogonal plan, are scored with the same seeds as the networks that are held out, a seed
after the other. A table is fitted as the search fits it: to all of a design's networks, and to the first two thirds.
The scores go into the journal in `--out`, and what is there already is not computed again.

  python benchmarks/score_table.py --model=yolov5n --image_size=224 --out=score-table
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from latency_table import held_out

from keras_actnas.core import CANDIDATES, Assignment
from keras_actnas.core.journal import Journal, Measurement
from keras_actnas.core.stats import rank_correlation
from keras_actnas.core.table import MetricTable
from keras_actnas.models import YOLO
from keras_actnas.search import NWOTScorer, image_batch, mixtures, orthogonal
from keras_actnas.search.fingerprint import model_fingerprint
from keras_actnas.search.priors import CurvePrior
from keras_actnas.search.scores import score_assignments, score_estimates, score_observations
from keras_actnas.search.tables import average_tables, fit_table

HELD_OUT = "held-out"


def groups_of(reference: Assignment, options: argparse.Namespace) -> dict[str, list[Assignment]]:
    """Returns the networks to score, by what they are for."""
    count = options.networks
    return {
        HELD_OUT: held_out(reference, options.held_out),
        "mixtures": mixtures(reference, CANDIDATES, count),
        "orthogonal": orthogonal(reference, CANDIDATES, count),
    }


def score(
    scorer: NWOTScorer, groups: dict[str, list[Assignment]], seeds: int, journal: Journal, model_hash: str
) -> dict[str, list[Measurement]]:
    """Returns the scores of every group, of all seeds."""
    made: dict[str, list[Measurement]] = {name: [] for name in groups}
    for seed in range(seeds):
        for name, networks in groups.items():
            made[name] += score_assignments(
                [scorer],
                networks,
                [(seed, 0)],
                journal,
                reference=scorer.reference,
                model_hash=model_hash,
                purpose=name,
            )
    return made


def fit(made: Sequence[Measurement], reference: Assignment) -> MetricTable:
    """Returns the table as `Search.score` fits it: one for every seed, and their mean."""
    return average_tables(
        [
            fit_table(rows, reference, CANDIDATES, own, metric="nwot", unit=made[0].unit, prior=CurvePrior())
            for own, rows in score_observations(made)
        ]
    )


def judge(table: MetricTable, truth: Sequence[Measurement], reference: Assignment) -> dict[str, float]:
    """Returns how a table predicts the mean scores of networks that it was not fitted to."""
    _, found = score_estimates(truth, reference)
    scores = [value.value for value in found.values()]
    predicted = [table.predict(network).value for network in found]
    missed = np.subtract(predicted, scores)
    return {
        "rank_correlation": round(rank_correlation(predicted, scores), 3),
        "rms": round(float(np.sqrt(np.mean(missed**2))), 4),
        "spread": round(float(np.std(scores, ddof=1)), 4),
    }


def report(mode: str, made: dict[str, list[Measurement]], reference: Assignment) -> None:
    """Prints a line of JSON for every table of a mode."""
    truth = made[HELD_OUT]
    for name, lines in made.items():
        if name == HELD_OUT:
            continue
        order = list(dict.fromkeys(one.assignment for one in lines))
        for count in (len(order), 2 * len(order) // 3):
            known = set(order[:count])
            table = fit([one for one in lines if one.assignment in known], reference)
            row = {"batch_norm": mode, "design": name, "networks": count, **judge(table, truth, reference)}
            print(json.dumps(row), flush=True)


def main() -> None:
    """Prints how each table predicts the networks that were held out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov5n")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--networks", type=int, default=150, help="of each design")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--held_out", type=int, default=40)
    parser.add_argument("--batch_norm", nargs="*", default=["inference", "batch"], choices=["inference", "batch"])
    parser.add_argument("--out", default="score-table", help="folder of the journal")
    options = parser.parse_args()
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    shape = (options.image_size, options.image_size, 3)
    model = YOLO(options.model, input_shape=shape)
    images = image_batch(None, options.batch_size, shape)
    for mode in options.batch_norm:
        scorer = NWOTScorer(model, images, batch_norm=mode)
        with Journal(folder / "journal.jsonl") as journal:
            groups = groups_of(scorer.reference, options)
            made = score(scorer, groups, options.seeds, journal, model_fingerprint(model))
            report(mode, made, scorer.reference)


if __name__ == "__main__":
    main()
