"""From a data set to an int8 detector with the activations that pay: the whole story on two cores.

  pip install ".[search,vela,ultralytics,detect]"
  python examples/detect_items/detect_items.py --data /usr/share/datasets/fashion-mnist

Makes a detection data set (items.py), trains a small YOLOv8 full of SiLU with Ultralytics, searches its activations for
--device, fine-tunes the proposal, converts to int8, and shows mAP and latency beside two controls that get the same
fine-tuning: SiLU as it is, and ReLU everywhere. All trainings are done with each of --seeds; the search is done once,
on the first one's network.

Into the folder --out come results.json, table.txt, table.csv, two pictures, and all that was trained. The results are
written after every step: a run that was stopped and is started again goes on with the next one. On Ethos-U, latencies
are Vela's estimates; on the host they are measured.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from deployment import deploy, measure_latencies
from items import make_dataset
from picture import save_picture
from plot import save_plot
from searching import check_search, search
from steps import Steps, run_steps
from table import NETWORKS, save_table
from training import RECIPE, checkpoint, fine_tune, train_from_scratch

from keras_actnas.core import Assignment, InputError

sys.path.insert(0, str(Path(__file__).parents[1]))
from results import Results

_RECORDED = ("device", "proxy", "constraint", "epochs", "tune_epochs", "image_size")


class Story:
    """The steps, one after the other; each does what the results do not have yet.

    Args:
      options: What the command line says.

    Attributes:
      out: The folder for results.
      data: The data.yaml.
      results: What was measured so far.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.out = Path(options.out)
        self._size = options.image_size
        self._seeds = range(options.seeds)
        counts = {"train": options.train, "val": options.val}
        given = {name: getattr(options, name) for name in _RECORDED}
        self.results = Results(self.out / "results.json", {**given, **counts, "recipe": RECIPE})
        check_search(options.device, options.proxy, options.constraint)
        self.data = make_dataset(self.out / "data", options.data, options.photos, counts, self._size)

    def train(self) -> None:
        """Trains the network with SiLU."""
        self._do(
            {
                f"train/{seed}/base": (
                    train_from_scratch, (self.data, self._folder(seed, "base"), seed, self._options.epochs, self._size)
                )
                for seed in self._seeds
            }
        )  # fmt: skip

    def search(self) -> None:
        """Searches the activations of the first seed's network."""
        what = (self._options.device, self._options.proxy, self._options.constraint)
        self._do({"search": (search, (self._weights(0, "base"), self.data, self.out / "search", *what, self._size))})

    def fine_tune(self) -> None:
        """Fine-tunes every assignment with every seed."""
        self._do(
            {
                f"train/{seed}/{name}": (
                    fine_tune,
                    (self._weights(seed, "base"), assignment, self.data, self._folder(seed, name), seed,
                     self._options.tune_epochs, self._size),
                )
                for seed in self._seeds
                for name, assignment in self.assignments.items()
            }
        )  # fmt: skip

    def deploy(self) -> None:
        """Converts every network, as it was swapped and as it was fine-tuned, and takes its mAP."""
        steps: Steps = {}
        for seed in self._seeds:
            for network in NETWORKS:
                weights = self._weights(seed, network.assignment if network.tuned else "base")
                swapped = None if network.tuned else self.assignments[network.assignment]
                out = self._deployed(seed, network.key)
                steps[f"deploy/{seed}/{network.key}"] = (deploy, (weights, swapped, self.data, out, self._size))
        self._do(steps)

    def measure(self) -> None:
        """Takes the latencies of the first seed's networks: weights make no difference to them."""
        networks = {network.assignment: self._deployed(0, network.key) for network in NETWORKS if network.tuned}
        devices = {"host float32": ("host", "float32"), "host int8": ("host", "int8")}
        if self._options.device != "host":
            devices[self._options.device] = (self._options.device, None)
        for name, (spec, precision) in devices.items():
            if self.results.get(f"latency/{name}") is None:
                found = measure_latencies(networks, self.assignments, "silu", spec, precision)
                self.results.add(f"latency/{name}", found)

    @property
    def assignments(self) -> dict[str, Mapping[str, str]]:
        """The assignments that are compared, by the name they have in the results."""
        found = self.results.runs["search"]
        reference = Assignment(found["reference"])
        return {"silu": reference, "relu": Assignment.uniform(reference, "relu"), "proposal": found["proposal"]}

    def network_file(self, seed: int, key: str, precision: str) -> Path:
        """Returns the .tflite of a network of `NETWORKS`."""
        return self._deployed(seed, key) / f"{precision}.tflite"

    def _do(self, steps: Steps) -> None:
        """Does what the results do not have yet, and prints a line for each."""
        todo = {key: step for key, step in steps.items() if self.results.get(key) is None}
        for key, result in run_steps(todo, self._options.processes):
            self.results.add(key, result)
            print(f"{key}: {result['seconds']:.0f} s", flush=True)

    def _folder(self, seed: int, name: str) -> Path:
        return self.out / f"seed{seed}" / name

    def _weights(self, seed: int, name: str) -> Path:
        return checkpoint(self._folder(seed, name))

    def _deployed(self, seed: int, key: str) -> Path:
        return self.out / f"seed{seed}" / "deployed" / key


def run(options: argparse.Namespace) -> None:
    """Goes through the whole story."""
    begin = time.perf_counter()
    story = Story(options)
    story.train()
    story.search()
    story.fine_tune()
    story.deploy()
    story.measure()
    print(f"\n{save_table(story.results.runs, story.assignments, options.device, options.seeds, story.out)}")
    files = {label: story.network_file(0, key, "int8") for label, key in COLUMNS.items()}
    save_picture(story.out / "detections.png", story.data, files)
    device = "host int8" if options.device == "host" else options.device
    save_plot(story.out / "accuracy.png", story.results.runs, device, options.seeds)
    print(f"\nWritten to {story.out}: results.json, table.txt, table.csv, detections.png, accuracy.png, search/")
    print(f"{time.perf_counter() - begin:.0f} s, without what was done before")


COLUMNS = {
    "SiLU, int8": "silu-tuned",
    "ReLU, int8": "relu-tuned",
    "proposal, not fine-tuned, int8": "proposal-swapped",
    "proposal, fine-tuned, int8": "proposal-tuned",
}
"""Columns of the picture, besides the truth, and their networks."""


def positive(text: str) -> int:
    """Returns a whole number of 1 or more, for argparse."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", help="folder with the four idx .gz files of Fashion-MNIST (default: Keras downloads them)"
    )
    parser.add_argument("--photos", help="folder of photographs (default: those of scikit-image and Ultralytics)")
    parser.add_argument("--out", default="runs/items", help="folder for results (default: %(default)s)")
    parser.add_argument("--device", default="vela:ethos-u55-128", help="what to search for (default: %(default)s)")
    parser.add_argument("--proxy", default="sensitivity", help="what the search scores by (default: %(default)s)")
    parser.add_argument(
        "--constraint",
        default="sensitivity<=0.05",
        help="bound on the score; a looser one saves more and leaves more to fine-tuning (default: %(default)s)",
    )
    for name, default, what in (
        ("seeds", 3, "how often everything is trained"),
        ("epochs", 10, "epochs from scratch"),
        ("tune_epochs", 4, "epochs of fine-tuning"),
        ("train", 2000, "training images"),
        ("val", 400, "validation images"),
        ("image_size", 128, "height and width of the images, in pixels"),
        ("processes", 2, "trainings at the same time"),
    ):
        parser.add_argument(f"--{name}", type=positive, default=default, help=f"{what} (default: %(default)s)")
    options = parser.parse_args(arguments)
    # Before torch and TensorFlow start: each process gets its share of the cores.
    threads = str(max(1, (os.cpu_count() or 1) // options.processes))
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ.setdefault(name, threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    try:
        run(options)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
