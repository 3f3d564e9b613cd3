"""Scores every assignment of the study by every proxy: modes of BatchNorm, batch sizes, resolutions, initializations.

  python benchmarks/proxy_fidelity/proxies.py --network residual --out benchmarks/proxy_fidelity/scores_residual.jsonl

Each start has initial weights and a batch of training images of its own; a trained network has the images alone. Batch
sizes are compared at the resolution of the training, resolutions at the middle batch size. A line of JSON holds the
scores of all assignments by one setting and start; a killed run goes on where it was, and assignments that have come
since are added. The network for proxies that want a trained one is trained once and kept in `--weights`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras
import tensorflow as tf
from candidates import candidates
from command import run_command
from score_lines import Setting, append_scores, read_scores
from study import waiting
from subjects import SUBJECTS, Subject

from keras_actnas.core import CANDIDATES, Assignment
from keras_actnas.search.proxies import PROXIES, Task, proxies_on
from keras_actnas.search.proxies.tasks import compute_here, in_order

COMPARED = ("nwot", "nwot_batch", "jacob_cov", "grad_norm", "synflow", "sensitivity", "sensitivity_batch")
"""The proxies that need images and no labels."""


def settings(subject: Subject, proxies: Sequence[str], batches: Sequence[int]) -> list[Setting]:
    """Returns the settings to compare, without those that make no difference to a proxy."""
    usual = middle(batches)
    of_batch = [(batch, subject.size) for batch in batches]
    of_size = [(usual, size) for size in subject.others]
    found = []
    for name in proxies:
        fixed = PROXIES[name].batch_norm or ("inference" if f"{name}_batch" in PROXIES else None)
        for mode in (fixed,) if fixed else ("inference", "batch"):
            # SynFlow looks at no image; a network is trained at one resolution.
            looks = [(usual, subject.size)] if name == "synflow" else of_batch
            looks = looks if PROXIES[name].trained else [*looks, *of_size]
            found += [Setting(name, mode, batch, size) for batch, size in looks]
    return found


def middle(batches: Sequence[int]) -> int:
    """Returns the batch size that the others, and resolutions, are compared with."""
    return sorted(batches)[len(batches) // 2]


def score(
    subject: Subject, setting: Setting, model: keras.Model, left: Mapping[int, Sequence[Assignment]]
) -> Iterator[tuple[int, dict[Assignment, float], float]]:
    """Yields each start with the scores of the assignments that are left of it, and the seconds that they took."""
    images = [subject.batch(setting.batch, start, setting.size) for start in left]
    proxies = proxies_on(setting.proxy, model, images, CANDIDATES, setting.batch_norm)
    for proxy, (start, assignments) in zip(proxies, left.items(), strict=True):
        seed = None if PROXIES[setting.proxy].trained else start
        tasks = [Task(assignment, seed) for assignment in in_order(assignments, proxy.reference)]
        began = time.perf_counter()
        found = {task.assignment: value for task, value in compute_here([proxy])(tasks)}
        yield start, found, time.perf_counter() - began


def trained(subject: Subject, path: Path) -> keras.Model:
    """Returns the trained network, which is kept in a file."""
    if path.exists():
        model = subject.build(subject.size)
        model.load_weights(path)
        return model
    model = subject.train()
    model.save_weights(path)
    return model


def main() -> None:
    """Scores what `--out` does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="residual", choices=SUBJECTS)
    parser.add_argument("--data", help="folder of the images; see train.py")
    parser.add_argument("--proxies", nargs="*", default=COMPARED, choices=PROXIES)
    parser.add_argument("--batches", type=int, nargs="*", default=[16, 64, 128])
    parser.add_argument("--starts", type=int, default=8, help="of the middle batch size at the training's resolution")
    parser.add_argument("--others", type=int, default=3, help="starts of the other batch sizes and resolutions")
    parser.add_argument("--count", type=int, default=64, help="assignments besides the proposals")
    parser.add_argument("--weights", default="trained.weights.h5", help="file of the trained network")
    parser.add_argument("--pause", default="", help="a file; while it exists, no scoring begins")
    parser.add_argument("--out", required=True, help="JSON lines")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.get_logger().setLevel("ERROR")  # Each setting compiles its network: no reason to warn.
    subject, path = SUBJECTS[options.network](options.data), Path(options.out)
    assignments = candidates(subject.reference, options.count).values()
    done, _ = read_scores(path)
    for setting in settings(subject, options.proxies, options.batches):
        usual = (setting.batch, setting.size) == (middle(options.batches), subject.size)
        starts = range(options.starts if usual else options.others)
        known = {start: done.get(setting, {}).get(start, {}) for start in starts}
        wanted = {start: [one for one in assignments if one.digest not in scored] for start, scored in known.items()}
        left = {start: networks for start, networks in wanted.items() if networks}
        if not left:
            continue
        waiting(options.pause)
        kind = PROXIES[setting.proxy]
        model = trained(subject, Path(options.weights)) if kind.trained else subject.build(setting.size)
        for start, found, seconds in score(subject, setting, model, left):
            append_scores(path, setting, start, found, kind.higher_is_better, seconds)
            print(f"{setting}, start {start}: {len(found)} scores in {seconds:.1f} s", flush=True)
            waiting(options.pause)
        keras.backend.clear_session()


if __name__ == "__main__":
    run_command(main)
