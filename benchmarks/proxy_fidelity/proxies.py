"""Scores every assignment of the study by every proxy: modes of BatchNorm, batch sizes, resolutions, initializations.

  python benchmarks/proxy_fidelity/proxies.py --network residual --out benchmarks/proxy_fidelity/scores_residual.jsonl

Each start has initial weights and a batch of training images of its own; a trained network has the images alone. Batch
sizes are compared at the resolution of the training, resolutions at the middle batch size. A line of JSON holds the
scores of all assignments by one setting and start; a killed run goes on where it was, and assignments that have come
since are added. The network for proxies that want a trained one is trained once and kept in `--weights`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras
import tensorflow as tf
from candidates import candidates
from subjects import SUBJECTS, Subject
from train import waiting

from keras_actnas.core import CANDIDATES, Assignment
from keras_actnas.search.proxies import PROXIES, Proxy, Task, proxies_on
from keras_actnas.search.proxies.tasks import compute_here, in_order
from keras_actnas.search.switchable import switchable_sites

COMPARED = ("nwot", "nwot_batch", "jacob_cov", "grad_norm", "synflow", "sensitivity", "sensitivity_batch")
"""The proxies that need images and no labels."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a score depends on besides the assignment and the start.

    Attributes:
      proxy: Name of the proxy.
      batch_norm: Mode of BatchNorm.
      batch: Images in a batch.
      size: Height and width of the images, pixels.
    """

    proxy: str
    batch_norm: str
    batch: int
    size: int


def settings(subject: Subject, proxies: Sequence[str], batches: Sequence[int], sizes: Sequence[int]) -> list[Setting]:
    """Returns the settings to compare, without those that make no difference to a proxy."""
    usual = middle(batches)
    looks = [(batch, subject.size) for batch in batches] + [(usual, size) for size in sizes if size != subject.size]
    found = []
    for name in proxies:
        fixed = PROXIES[name].batch_norm or ("inference" if f"{name}_batch" in PROXIES else None)
        for mode in (fixed,) if fixed else ("inference", "batch"):
            # A network is trained at one resolution; SynFlow looks at no image.
            own = [look for look in looks if look[1] == subject.size] if PROXIES[name].trained else looks
            own = [look for look in own if look[0] == usual] if name == "synflow" else own
            found += [Setting(name, mode, batch, size) for batch, size in own]
    return found


def middle(batches: Sequence[int]) -> int:
    """Returns the batch size that the others, and resolutions, are compared with."""
    return sorted(batches)[len(batches) // 2]


def score(
    subject: Subject, setting: Setting, model: keras.Model, starts: Sequence[int], left: Sequence[Sequence[Assignment]]
) -> Iterator[tuple[int, dict[Assignment, float], float]]:
    """Yields each start with the scores of the assignments that are left of it, and the seconds that they took."""
    proxies: list[Proxy] = []
    if any(left):
        images = [subject.batch(setting.batch, start, setting.size) for start in starts]
        proxies = proxies_on(setting.proxy, model, images, CANDIDATES, setting.batch_norm)
    for number, (proxy, start) in enumerate(zip(proxies, starts, strict=True) if proxies else ()):
        if left[number]:
            seed = None if PROXIES[setting.proxy].trained else start
            tasks = [Task(assignment, seed) for assignment in in_order(left[number], proxy.reference)]
            began = time.perf_counter()
            found = {task.assignment: value for task, value in compute_here([proxy])(tasks)}
            yield start, found, time.perf_counter() - began


def read(path: Path) -> dict[tuple[Setting, int], dict[str, float]]:
    """Returns (setting, start) -> name -> score of a file that this script wrote; nothing where there is none."""
    found: dict[tuple[Setting, int], dict[str, float]] = {}
    for text in path.read_text().splitlines() if path.exists() else ():
        line = json.loads(text)
        setting = Setting(*(line[field.name] for field in dataclasses.fields(Setting)))
        found.setdefault((setting, line["start"]), {}).update(line["scores"])
    return found


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
    parser.add_argument("--sizes", type=int, nargs="*", default=[20, 28, 40], help="resolutions, pixels")
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
    names = candidates(switchable_sites(subject.build(subject.size)), options.count)
    done = read(path)
    for setting in settings(subject, options.proxies, options.batches, options.sizes):
        usual = (setting.batch, setting.size) == (middle(options.batches), subject.size)
        starts = range(options.starts if usual else options.others)
        left = [[one for name, one in names.items() if name not in done.get((setting, start), {})] for start in starts]
        if not any(left):
            continue
        waiting(options.pause)
        model = (
            trained(subject, Path(options.weights)) if PROXIES[setting.proxy].trained else subject.build(setting.size)
        )
        for start, found, seconds in score(subject, setting, model, starts, left):
            _append(path, setting, start, {name: found[one] for name, one in names.items() if one in found}, seconds)
        keras.backend.clear_session()


def _append(path: Path, setting: Setting, start: int, scores: Mapping[str, float], seconds: float) -> None:
    line = {
        **dataclasses.asdict(setting),
        "start": start,
        "higher_is_better": PROXIES[setting.proxy].higher_is_better,
        "seconds": round(seconds, 2),
        "scores": {name: float(f"{value:.9g}") for name, value in scores.items()},
    }
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(f"{setting}, start {start}: {len(scores)} scores in {line['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
