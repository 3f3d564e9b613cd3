"""NWOT scores a second: this package against a straightforward eager PyTorch scorer of the same network and batch.

python benchmarks/nwot.py                      yolov5n, 224 px, batch 16, on all cores

Both score the same networks with the same weights on the same images, in turns: a block of ours, then one of PyTorch's.
Each has a process of its own, since the threads of two frameworks in one process get in each other's way.
Three sets of networks: single swaps, which are the paper's protocol, and mixtures, by an orthogonal plan and at random.
Of the single swaps, much of a network is as in the one before; of mixtures, little is. The peak is that of a large
matrix product in PyTorch; the share of a set counts the operations of the whole network for every score, so what is not
computed again raises it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from keras_actnas.core import CANDIDATES
from keras_actnas.models import YOLO
from keras_actnas.search import NWOTScorer, count_macs, image_batch, mixtures, orthogonal, single_swaps
from keras_actnas.search.proxies.tasks import in_order

SETS = ("single swaps", "orthogonal", "mixtures")


class Eager:
    """The process of `eager_nwot.py`."""

    def __init__(self, name, model, images):
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name) / "network.npz"
        weights = {f"weight{number}": weight for number, weight in enumerate(model.get_weights())}
        np.savez(file, images=images, **weights)
        script = Path(__file__).with_name("eager_nwot.py")
        self._process = subprocess.Popen(
            [sys.executable, script, name, file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "KERAS_BACKEND": "torch"},
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()
        self._folder.cleanup()

    def ask(self, networks):
        """Returns the mean seconds and the scores of networks, or of none the machine's GFLOP/s and nothing."""
        print(json.dumps([dict(network) for network in networks]), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


def timed(scorer, networks):
    """Returns the mean seconds of a score, and the scores."""
    start = time.perf_counter()
    scores = [scorer.score(network) for network in networks]
    return (time.perf_counter() - start) / len(networks), scores


def compare(ours, eager, candidates, peak_seconds, sample, blocks):
    """Times blocks of ours and samples of PyTorch's in turns; returns figures.

    Args:
      ours: The scorer of this process.
      eager: The scorer of the other one.
      candidates: Networks, in the order of scoring.
      peak_seconds: What a pass through the whole network would take at the machine's peak.
      sample: How many of the candidates PyTorch scores in a block.
      blocks: How many blocks.
    """
    own, other, difference = [], [], []
    for number in range(blocks):
        seconds, scores = timed(ours, candidates)
        own.append(seconds)
        picked = np.random.default_rng(number).choice(len(candidates), sample, replace=False)
        seconds, expected = eager.ask([candidates[index] for index in picked])
        other.append(seconds)
        difference += [abs(scores[index] - value) for index, value in zip(picked, expected, strict=True)]
    ratios = np.array(other) / np.array(own)
    return {
        "networks": len(candidates),
        "ours_ms": round(1e3 * float(np.median(own)), 1),
        "torch_ms": round(1e3 * float(np.median(other)), 1),
        "times_as_fast": round(float(np.median(ratios)), 2),
        "share_of_peak": round(peak_seconds / float(np.median(own)), 2),
        "torch_share_of_peak": round(peak_seconds / float(np.median(other)), 2),
        "blocks": [round(float(ratio), 2) for ratio in ratios],
        "largest_difference": round(float(max(difference)), 4),
    }


def main() -> None:
    """Prints the figures of each set of networks, and the share of the machine's peak of one full pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov5n", help="a YOLOv5")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--mixtures", type=int, default=150)
    parser.add_argument("--sets", nargs="*", default=SETS, choices=SETS)
    parser.add_argument("--sample", type=int, default=10, help="networks that PyTorch scores in a block")
    parser.add_argument("--blocks", type=int, default=3)
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    shape = (options.image_size, options.image_size, 3)
    model = YOLO(options.model, input_shape=shape)
    images = image_batch(None, options.batch_size, shape)
    ours = NWOTScorer(model, images)
    with Eager(options.model, model, images) as eager:
        report(ours, eager, model, options)


def report(ours, eager, model, options):
    """Prints the figures, a line of JSON each."""
    reference = ours.reference
    first, _ = timed(ours, [{}])
    eager.ask([reference])
    gigaflops, _ = eager.ask([])
    print(json.dumps({"first_s": round(first, 1), "matrix_product_gflops": round(gigaflops)}))

    stem = next(iter(reference))
    full, _ = timed(ours, [{stem: name} for name in CANDIDATES * 4])
    plain, _ = eager.ask([reference] * 5)
    # The last convolution of each branch of the head has no site behind it and is not computed.
    work = 2 * options.batch_size * sum(layer.macs for layer in count_macs(model).layers if not is_last(layer.name))
    peak_seconds = work / 1e9 / gigaflops
    for name, seconds in (("ours", full), ("torch", plain)):
        share = round(peak_seconds / seconds, 2)
        print(json.dumps({"full_pass": name, "ms": round(1e3 * seconds, 1), "share_of_peak": share}))

    makers = (
        lambda: single_swaps(reference, CANDIDATES),
        lambda: orthogonal(reference, CANDIDATES, options.mixtures),
        lambda: mixtures(reference, CANDIDATES, options.mixtures),
    )
    for name, make in zip(SETS, makers, strict=True):
        if name not in options.sets:
            continue
        candidates = in_order(make(), reference)
        found = compare(ours, eager, candidates, peak_seconds, options.sample, options.blocks)
        print(json.dumps({"set": name, **found}), flush=True)


def is_last(name):
    """Whether a layer is the convolution without activation at the end of a branch of the head."""
    return name.endswith("-2") and "-cv" in name


if __name__ == "__main__":
    main()
