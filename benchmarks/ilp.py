"""Times the ILP search on random tables with the shape of real ones; prints a Markdown table.

Example: python benchmarks/ilp.py --runs 5
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np

from keras_actnas.core import Assignment, Constraint, Estimate, MetricTable
from keras_actnas.search.ilp import solve_ilp

ACTIVATIONS = (
    *("silu", "relu", "hard_swish", "relu6", "leaky_relu", "gelu"),
    *("elu", "selu", "mish", "softplus", "tanh", "sigmoid"),
)
# Whole-model shares of the latency and of the NWOT score, of the size that is measured for a YOLO on an NPU.
GAINS = np.array([0, -0.34, -0.31, -0.34, -0.31, 0.1, 0.2, 0.2, 0.3, 0.2, -0.1, -0.1])
LOSSES = np.array([0, -3.8, -0.2, -3.8, -2.5, -0.3, -1.0, -2.0, -0.3, -1.5, -5.0, -6.0])
CONSTRAINTS = ("nwot>=reference-0.8", "memory<=90%")


def random_tables(rng: np.random.Generator, sites: int, activations: int, covariance: bool) -> dict[str, MetricTable]:
    """Returns tables in which large layers matter more, 5 % of the cells lack a value, and no effect is exact."""
    names = ACTIVATIONS[:activations]
    shape = (sites, activations)
    size = rng.lognormal(0.0, 1.0, (sites, 1))
    share = size / size.sum()
    deltas = {
        "latency": (18.2, "ms", 18.2 * share * GAINS[:activations] * rng.normal(1.0, 0.2, shape)),
        "nwot": (120.0, "", np.abs(rng.normal(0.0, 1.25, shape)) * LOSSES[:activations] / sites),
        "memory": (400.0, "KiB", rng.normal(-1.0, 2.0, shape) * 69 / sites),
    }
    reference = Assignment.uniform([f"site{row}" for row in range(sites)], "silu")
    tables = {}
    for metric, (value, unit, delta) in deltas.items():
        delta[rng.random(shape) < 0.05] = np.nan
        delta[:, 0] = 0.0
        factor = rng.normal(0.0, 0.01, (delta.size, 8))
        spread = factor @ factor.T if covariance else None
        error = np.full(shape, 0.02)
        tables[metric] = MetricTable(metric, unit, reference, names, Estimate(value), delta, error, {}, spread)
    return tables


def measure(sites: int, activations: int, top_k: int, min_distance: int, solver: str, runs: int) -> list[float]:
    """Returns the seconds of `runs` searches, each over other tables."""
    constraints = [Constraint.parse(text) for text in CONSTRAINTS]
    seconds = []
    for seed in range(runs):
        # The covariance of 1,000 x 12 cells would fill a gigabyte, and a search does not look at it.
        tables = random_tables(np.random.default_rng(seed), sites, activations, covariance=sites < 200)
        options = {"top_k": top_k, "min_distance": min_distance, "solver": solver}
        result = solve_ilp(tables, "latency", constraints, **options)
        if len(result.proposals) != top_k or any(item.status != "optimal" for item in result.proposals):
            raise RuntimeError(f"Expected {top_k} proven proposals of seed {seed}. Received: {result.proposals}.")
        seconds.append(result.seconds)
    return seconds


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="searches a row, each over other random tables")
    runs = parser.parse_args().runs
    print(f"Two constraints ({', '.join(CONSTRAINTS)}), {runs} random problems a row, all answers proven.\n")
    print("| sites x activations | top | distance | solver | median s | fastest s | slowest s |")
    print("|---|---|---|---|---|---|---|")
    for sites, activations, top_k, distance in ((69, 5, 1, 1), (69, 5, 10, 1), (69, 5, 10, 5), (1000, 12, 1, 1)):
        for solver in ("highs", "cbc"):
            seconds = measure(sites, activations, top_k, distance, solver, runs)
            figures = f"{statistics.median(seconds):.2f} | {min(seconds):.2f} | {max(seconds):.2f}"
            print(f"| {sites} x {activations} | {top_k} | {distance} | {solver} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
