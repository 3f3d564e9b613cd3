"""The proxies' ranking of published networks whose activations are known, against their mAP on COCO.

  python benchmarks/proxy_fidelity/published.py --seeds 3

Of the nine networks of ActNAS's table 1 these can be rebuilt: YOLOv5n with SiLU, ReLU and hard-swish everywhere, and
the naive one, which has ReLU at the first three sites (section 3.3.2) whatever the device. The sites of LZCM and ActNAS
networks are not published. The images are crops of scikit-image's photographs, the weights initial ones: what a search
with default settings sees. Every seed has initial weights and a batch of its own.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from command import run_command
from correlation import kendall
from printed import Table

from keras_actnas.core import Assignment
from keras_actnas.models import YOLO
from keras_actnas.search import image_batch
from keras_actnas.search.proxies import PROXIES, proxies_on
from keras_actnas.surgery import current_assignment

PUBLISHED = {"SiLU": 0.3400, "naive": 0.3380, "hard-swish": 0.3342, "ReLU": 0.3205}
"""Network -> mAP on COCO (ActNAS, table 1)."""

UNTRAINED = {
    "nwot": ("inference",),
    "nwot_batch": ("batch",),
    "jacob_cov": ("inference", "batch"),
    "grad_norm": ("inference", "batch"),
    "synflow": ("inference",),
}
"""Proxy -> modes of BatchNorm. (Sensitivity is about weights that are trained, which are a download.)"""


def published(reference: Assignment) -> dict[str, Assignment]:
    """Returns the networks, by the names in `PUBLISHED`, of a YOLOv5n's sites in the order of execution."""
    first = list(reference)[:3]
    return {
        "SiLU": Assignment.uniform(reference, "silu"),
        "naive": Assignment.uniform(reference, "silu").with_swaps(dict.fromkeys(first, "relu")),
        "hard-swish": Assignment.uniform(reference, "hard_swish"),
        "ReLU": Assignment.uniform(reference, "relu"),
    }


def score(name: str, mode: str, model: keras.Model, options: argparse.Namespace) -> np.ndarray:
    """Returns the scores, higher is better, of shape (seeds, networks)."""
    shape = tuple(model.inputs[0].shape[1:])
    images = [image_batch(None, options.batch, shape, seed) for seed in range(options.seeds)]
    proxies = proxies_on(name, model, images, ("silu", "relu", "hard_swish"), mode)
    networks = published(proxies[0].reference).values()
    sign = 1 if PROXIES[name].higher_is_better else -1
    return np.array([[sign * proxy.score(network, seed) for network in networks] for seed, proxy in enumerate(proxies)])


def row(name: str, mode: str, scores: np.ndarray) -> list[str]:
    """Returns the cells of one proxy: differences to SiLU with standard errors, ranking, Kendall's tau."""
    mean_ap = np.array(list(PUBLISHED.values()))
    away = scores - scores[:, :1]
    errors = away.std(axis=0, ddof=1) / np.sqrt(len(away)) if len(away) > 1 else np.full(len(mean_ap), np.nan)
    cells = [f"{mean:+.3g} +- {error:.2g}" for mean, error in zip(away.mean(axis=0)[1:], errors[1:], strict=True)]
    names = list(PUBLISHED)
    ranking = " > ".join(names[column] for column in np.argsort(-scores.mean(axis=0)))
    single = [kendall(one, mean_ap) for one in scores]
    taus = [f"{kendall(scores.mean(axis=0), mean_ap):+.2f}", ", ".join(f"{tau:+.2f}" for tau in single)]
    between = [kendall(one, other) for one, other in itertools.combinations(scores, 2)]
    return [name, mode, *cells, ranking, *taus, f"{np.mean(between):+.2f}" if between else ""]


def naive_sites(networks: Mapping[str, Assignment]) -> str:
    """Returns the sites of the naive network that have ReLU."""
    return ", ".join(networks["naive"].swaps(networks["SiLU"]))


def main() -> None:
    """Prints the ranking of each proxy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov5n")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(0)
    model = YOLO(options.model, input_shape=(options.image_size, options.image_size, 3))
    print(f"naive has ReLU at {naive_sites(published(current_assignment(model)))}", flush=True)
    rows = []
    for name, modes in UNTRAINED.items():
        for mode in modes:
            start = time.perf_counter()
            rows.append(row(name, mode, score(name, mode, model, options)))
            print(f"{name}, {mode}: {time.perf_counter() - start:.0f} s", flush=True)
    others = [f"{name} - SiLU" for name in list(PUBLISHED)[1:]]
    header = ["proxy", "BatchNorm", *others, "ranking", "Kendall", "of each seed", "Kendall of two seeds"]
    print(Table("Published networks", header, rows).markdown())


if __name__ == "__main__":
    run_command(main)
