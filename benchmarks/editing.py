"""Times making a candidate's .tflite: by editing the converted graph, and by rebuilding and converting the model.

Example: python benchmarks/editing.py --model yolov5n --image_size 320
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_actnas.export import TFLiteNetwork, to_editable, to_tflite
from keras_actnas.models import YOLO
from keras_actnas.surgery import replace_activations

ACTIVATIONS = ("relu", "silu", "hard_swish", "relu6", "leaky_relu")


def seconds(function: Callable[..., object], *arguments: object) -> float:
    """Returns the time that one call takes."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main() -> None:
    """Prints the median time of an edit, the time of a conversion, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov5n", help="a YOLO (default: %(default)s)")
    parser.add_argument("--image_size", type=int, default=320, help="default: %(default)s")
    parser.add_argument("--edits", type=int, default=51, help="random assignments to edit (default: %(default)s)")
    options = parser.parse_args()
    model = YOLO(options.model, input_shape=(options.image_size, options.image_size, 3))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        to_editable(model, path)
        network = TFLiteNetwork(path)
        random = np.random.default_rng(0)
        assignments = [
            {site: str(random.choice(ACTIVATIONS)) for site in network.reference} for _ in range(options.edits)
        ]
        edits = [seconds(network.edit, assignment) for assignment in assignments]
        rebuilt = replace_activations(model, assignments[0])
        conversion = seconds(to_tflite, rebuilt, Path(folder) / "converted.tflite")
    edit = statistics.median(edits)
    print(f"{options.model}, {options.image_size} px, {len(network.sites)} sites, all activations random")
    print(f"one edit:       {edit:.4f} s (median of {len(edits)}; {min(edits):.4f} to {max(edits):.4f})")
    print(f"one conversion: {conversion:.2f} s")
    print(f"ratio:          {conversion / edit:.0f}")


if __name__ == "__main__":
    main()
