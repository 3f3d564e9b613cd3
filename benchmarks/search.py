"""The whole search against the paper's protocol, on this machine, in one run.

The paper's protocol (ActNAS, sections 3 and 3.2) builds, converts and measures (50 runs) every candidate: 345 for
yolov5n. Here `--candidates` of them are done that way, and the rest is extrapolated; scoring is left out on the paper's
side and counted on ours.

  python benchmarks/search.py --model=yolov5n --image_size=320 --loop
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags

from keras_actnas.commands.runs import define_run_flags, make_search
from keras_actnas.export import to_tflite
from keras_actnas.search import single_swaps
from keras_actnas.surgery import activation_sites, replace_activations
from keras_actnas.tflite_bench import DEFAULT_RUNS, measure


def run_search(arguments: list[str], out: str) -> tuple[object, dict[str, float]]:
    """Runs the search from nothing; returns it with the seconds of every stage."""
    values = flags.FlagValues()
    define_run_flags(values)
    values(["benchmark", *arguments, f"--out={out}"])
    start = time.perf_counter()
    search = make_search(values)
    stages = {"build": time.perf_counter() - start}
    search.run()
    stages.update(search.seconds)
    stages["total"] = time.perf_counter() - start
    return search, stages


def paper_candidate(search: object, assignment: dict[str, str], folder: Path) -> float:
    """Returns the seconds that one candidate takes when it is rebuilt, converted and measured by itself."""
    start = time.perf_counter()
    path = folder / "candidate.tflite"
    to_tflite(replace_activations(search.model, assignment), path)
    measure(path, runs=DEFAULT_RUNS)
    return time.perf_counter() - start


def main() -> None:
    """Prints the time of each stage, the protocol's extrapolated time, their ratio, and the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=10, help="how many are done as the paper does them")
    options, arguments = parser.parse_known_args()  # The others are the search's.
    with tempfile.TemporaryDirectory() as folder:
        search, stages = run_search(arguments, str(Path(folder, "run")))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        reference = search.convert().reference
        swaps = single_swaps(reference, search.settings.activations)
        chosen = np.random.default_rng(0).choice(len(swaps), options.candidates, replace=False)
        seconds = [paper_candidate(search, swaps[index], Path(folder)) for index in chosen]
    count = len(activation_sites(search.model)) * len(search.settings.activations)
    protocol = float(np.mean(seconds)) * count
    result = {
        "stages_s": {stage: round(value, 1) for stage, value in stages.items()},
        "peak_memory_gb": round(peak, 2),
        "paper_candidate_s": {"mean": round(float(np.mean(seconds)), 2), "measured": len(seconds)},
        "paper_protocol_s (extrapolated)": round(protocol),
        "paper_candidates": count,
        "times_faster (extrapolated)": round(protocol / stages["total"], 1),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
