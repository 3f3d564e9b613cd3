"""A bundle on this machine, pinned to one core: its size, how long a candidate takes to build, and where time goes.

  python benchmarks/bundle.py --model yolov5n --image_size 640

What a board does beside running networks is told apart: building the candidate (editing the graph), opening it (the
interpreter, untimed runs), and bookkeeping (processes, board state, journal, progress).
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from keras_actnas.core import CANDIDATES, Journal
from keras_actnas.devices import HostDevice, Plan, Request, record, write_bundle
from keras_actnas.export import TFLiteNetwork, to_editable
from keras_actnas.models import YOLO
from keras_actnas.search import mixtures


class TimedNetwork:
    """A network that notes how long its edits take."""

    def __init__(self, network: TFLiteNetwork) -> None:
        self.reference, self.sites, self.summarize = network.reference, network.sites, network.summarize
        self._network = network
        self.seconds: list[float] = []

    def edit(self, assignment: dict[str, str]) -> bytes:
        """Edits as the network does."""
        start = time.perf_counter()
        data = self._network.edit(assignment)
        self.seconds.append(time.perf_counter() - start)
        return data


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov5n")
    parser.add_argument("--image_size", type=int, default=640)
    parser.add_argument("--networks", type=int, default=5)
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {0})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.tflite")
        to_editable(YOLO(options.model, input_shape=(options.image_size, options.image_size, 3)), path)
        network = TimedNetwork(TFLiteNetwork(path))
        rows = mixtures(network.reference, CANDIDATES, options.networks)
        request = Request(tuple(rows), network.reference, runs=options.runs)
        size = write_bundle(Path(folder, "bench.pyz"), path.read_bytes(), Plan(options.model, request))
        with HostDevice() as device, Journal(Path(folder, "journal.jsonl")) as journal:
            device.probe(network, network.reference)  # Starts the process and opens the reference.
            network.seconds.clear()
            start = time.perf_counter()
            made = record(device, network, request, journal)
            wall = time.perf_counter() - start
        lines = [line for measured in made.values() for line in measured]
        openings = [line.conditions[key] for line in lines for key in ("opening", "reference_opening")]
        timed = sum(sum(line.samples) + sum(line.reference_samples) for line in lines) / 1e3
        untimed = sum(sum(opening["warmup_ms"]) for opening in openings) / 1e3
        opening = sum(opening["init_ms"] for opening in openings) / 1e3
        building = sum(network.seconds)  # The reference's, too.
        bookkeeping = wall - timed - untimed - opening - building
        edits = network.seconds[1:]
        print(
            json.dumps(
                {
                    "bundle_mb": round(size / 1e6, 2),
                    "network_mb": round(path.stat().st_size / 1e6, 2),
                    "bundle / network": round(size / path.stat().st_size, 3),
                    "building_a_candidate_s": {
                        "median": round(float(np.median(edits)), 4),
                        "max": round(max(edits), 4),
                    },
                    "seconds": {
                        "all": round(wall, 2),
                        "timed runs": round(timed, 2),
                        "untimed runs": round(untimed, 2),
                        "opening": round(opening, 2),
                        "building": round(building, 2),
                        "bookkeeping": round(bookkeeping, 3),
                    },
                    "bookkeeping / timed runs": round(bookkeeping / timed, 5),
                },
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
