"""Time of one NWOT score: yolov5n, 224 px, batch 16, on all cores; every score is of another random assignment.

python benchmarks/nwot.py
"""

import argparse
import json
import time

import keras
import numpy as np

from keras_actnas.models import YOLO
from keras_actnas.search import NWOTScorer, image_batch, mixtures


def main() -> None:
    """Prints the time of the first score, which compiles, and the median of the following ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov5n")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--scores", type=int, default=40)
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    shape = (options.image_size, options.image_size, 3)
    scorer = NWOTScorer(YOLO(options.model, input_shape=shape), image_batch(None, options.batch_size, shape))
    candidates = mixtures(scorer.reference, ("relu", "silu", "hard_swish", "relu6", "leaky_relu"), options.scores + 1)
    seconds = []
    for assignment in candidates:
        start = time.perf_counter()
        scorer.score(assignment)
        seconds.append(time.perf_counter() - start)
    later = np.array(seconds[1:])
    print(
        json.dumps(
            {
                "first_s": round(seconds[0], 2),
                "median_s": round(float(np.median(later)), 3),
                "p95_s": round(float(np.percentile(later, 95)), 3),
                "scores": len(later),
            }
        )
    )


if __name__ == "__main__":
    main()
