"""What a score table is worth: independent mixtures against designs whose networks begin alike, on unseen networks.

Every design (independent and orthogonal mixtures, mixtures that begin alike) is scored with the same seeds as the
networks that are held out, in turns, a seed after the other. A table is fitted as the search fits it. Besides the
designs of as many networks, the first of the independent mixtures are judged, as many as can be scored in the seconds
that each other design took. The scores go into the journal in `--out`, and what is there already is not computed
again. A figure in seconds is of the machine as it was, with whatever else ran on it.

  python benchmarks/score_table.py --model=yolov5n --image_size=224 --out=score-table
"""

from __future__ import annotations

import argparse
import datetime
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
from keras_actnas.search.score_designs import shared_beginnings
from keras_actnas.search.scores import score_assignments, score_estimates, score_observations
from keras_actnas.search.tables import average_tables, fit_table

INDEPENDENT = "independent"
HELD_OUT = "held-out"


def groups_of(reference: Assignment, options: argparse.Namespace) -> dict[str, list[Assignment]]:
    """Returns the networks to score, by what they are for."""
    count = options.networks
    return {
        HELD_OUT: held_out(reference, options.held_out),
        INDEPENDENT: mixtures(reference, CANDIDATES, count),
        "orthogonal": orthogonal(reference, CANDIDATES, count),
        **{f"margin {each:g}": shared_beginnings(reference, CANDIDATES, count, margin=each) for each in options.margin},
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


def seconds_of(purpose: str, mode: str, journal: Journal) -> float:
    """Returns the mean seconds of a group's score: from the line before in the journal to its own.

    What takes ten times the median is no scoring: compiling, other weights, the break between two runs.
    """
    lines = journal.select("nwot")
    times = [datetime.datetime.fromisoformat(line.time).timestamp() for line in lines]
    gaps = [
        gap
        for gap, line in zip(np.diff(times), lines[1:], strict=True)
        if line.purpose == purpose and line.conditions["batch_norm"] == mode
    ]
    return float(np.mean([gap for gap in gaps if gap < 10 * np.median(gaps)]))


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


def report(mode: str, made: dict[str, list[Measurement]], journal: Journal, reference: Assignment) -> None:
    """Prints a line of JSON for every table of a mode."""
    truth = made[HELD_OUT]
    seeds = len({one.conditions["seed"] for one in truth})
    each = seconds_of(INDEPENDENT, mode, journal)
    order = list(dict.fromkeys(one.assignment for one in made[INDEPENDENT]))
    for name in made:
        if name == HELD_OUT:
            continue
        networks = len({one.assignment for one in made[name]})
        seconds = seconds_of(name, mode, journal) * networks * seeds
        row = {"batch_norm": mode, "design": name, "networks": networks, "seconds": round(seconds, 1)}
        print(json.dumps({**row, **judge(fit(made[name], reference), truth, reference)}), flush=True)
        if name != INDEPENDENT:
            first = set(order[: max(1, round(seconds / each / seeds))])
            subset = [one for one in made[INDEPENDENT] if one.assignment in first]
            row = {"batch_norm": mode, "design": f"independent, in the seconds of {name}", "networks": len(first)}
            print(json.dumps({**row, **judge(fit(subset, reference), truth, reference)}), flush=True)


def main() -> None:
    """Prints how each table predicts the networks that were held out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov5n")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--networks", type=int, default=150, help="of each design")
    parser.add_argument("--margin", type=float, nargs="*", default=[0.5, 1.0, 2.0], help="of the shared beginnings")
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
            report(mode, made, journal, scorer.reference)


if __name__ == "__main__":
    main()
