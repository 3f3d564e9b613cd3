"""Times the solvers on random tables with the shape of real ones, and states the gaps of those that prove nothing.

Prints Markdown tables. Example: python benchmarks/ilp.py --runs 5 --seconds 1 10
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from keras_actnas.core import Assignment, Constraint, Estimate, MetricTable, Proposal
from keras_actnas.search.choice_program import SOLVERS
from keras_actnas.search.solvers import Rules, solve_ilp, solve_lzcm, solve_naive, solve_pareto, solve_random

ACTIVATIONS = (
    *("silu", "relu", "hard_swish", "relu6", "leaky_relu", "gelu"),
    *("elu", "selu", "mish", "softplus", "tanh", "sigmoid"),
)
# Whole-model shares of the latency and of the NWOT score, of the size that is measured for a YOLO on an NPU.
GAINS = np.array([0, -0.34, -0.31, -0.34, -0.31, 0.1, 0.2, 0.2, 0.3, 0.2, -0.1, -0.1])
LOSSES = np.array([0, -3.8, -0.2, -3.8, -2.5, -0.3, -1.0, -2.0, -0.3, -1.5, -5.0, -6.0])
CONSTRAINTS = ("nwot>=reference-0.8", "memory<=90%")
# Under the bounds above not one of half a million random draws is kept; these let some through.
LOOSE = ("nwot>=reference-2",)


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


def solver_rows(runs: int) -> Iterator[str]:
    """Yields how long proofs take."""
    yield "| sites x activations | top | distance | solver | median s | fastest s | slowest s |"
    yield "|---|---|---|---|---|---|---|"
    for sites, activations, top_k, distance in ((69, 5, 1, 1), (69, 5, 10, 1), (69, 5, 10, 5), (1000, 12, 1, 1)):
        for solver in SOLVERS:
            seconds = measure(sites, activations, top_k, distance, solver, runs)
            figures = f"{statistics.median(seconds):.2f} | {min(seconds):.2f} | {max(seconds):.2f}"
            yield f"| {sites} x {activations} | {top_k} | {distance} | {solver} | {figures} |"


def gap_rows(seconds: Sequence[float], runs: int) -> Iterator[str]:
    """Yields how far other searches stay behind the proven optimum, in % of what it saves, and the bounds they break.

    The bounds are the loose ones. Random draws keep them; LZCM and naive do not know of any.
    """
    constraints = [Constraint.parse(text) for text in LOOSE]
    yield "| search | median gap % | smallest | largest | bounds broken |"
    yield "|---|---|---|---|---|"
    searches: dict[str, Callable[[dict[str, MetricTable], int], Proposal]] = {
        f"random, {limit:g} s": functools.partial(_draw, constraints, limit) for limit in seconds
    }
    searches["LZCM (relu)"] = lambda tables, seed: solve_lzcm(tables)
    searches["LZCM (hard_swish)"] = lambda tables, seed: solve_lzcm(tables, "hard_swish")
    searches["naive"] = lambda tables, seed: solve_naive(tables)
    for name, search in searches.items():
        gaps, broken = [], 0
        for seed in range(runs):
            tables = random_tables(np.random.default_rng(seed), 69, 5, covariance=True)
            reference = tables["latency"].reference_value.value
            best = solve_ilp(tables, "latency", constraints).proposals[0].predicted["latency"].value
            found = search(tables, seed).predicted
            gaps.append(100 * (found["latency"].value - best) / (reference - best))
            broken += sum(
                not one.holds(found[one.metric].value, tables[one.metric].reference_value.value) for one in constraints
            )
        figures = f"{statistics.median(gaps):.1f} | {min(gaps):.1f} | {max(gaps):.1f}"
        yield f"| {name} | {figures} | {broken} of {len(constraints) * runs} |"


def _draw(constraints: Sequence[Constraint], limit: float, tables: dict[str, MetricTable], seed: int) -> Proposal:
    return solve_random(tables, "latency", constraints, seconds=limit, seed=seed)


def more_rows(runs: int) -> Iterator[str]:
    """Yields how long other questions take on 69 sites x 5 activations."""
    constraints = [Constraint.parse(text) for text in CONSTRAINTS]
    groups = [(f"site{row}", f"site{row + 1}") for row in range(0, 20, 2)]
    questions: dict[str, Callable[[dict[str, MetricTable]], list[Proposal]]] = {
        "10 groups, a pin": lambda tables: (
            solve_ilp(tables, "latency", constraints, rules=Rules({"site68": "silu"}, groups)).proposals
        ),
        "at most 2 activations": lambda tables: (
            solve_ilp(tables, "latency", constraints, rules=Rules(max_activations=2)).proposals
        ),
        "confidence 0.95": lambda tables: solve_ilp(tables, "latency", constraints, confidence=0.95).proposals,
        "front of 2 metrics, 10 steps": lambda tables: solve_pareto(
            tables, ["latency"], constraints[1:], maximize=["nwot"]
        ),
    }
    yield "| question | errors | proven | median s | slowest s |"
    yield "|---|---|---|---|---|"
    for name, question in questions.items():
        for covariance in (False, True):
            seconds, proven, found = [], 0, 0
            for seed in range(runs):
                tables = random_tables(np.random.default_rng(seed), 69, 5, covariance)
                start = time.perf_counter()
                proposals = question(tables)
                seconds.append(time.perf_counter() - start)
                proven += sum(row.status == "optimal" for row in proposals)
                found += len(proposals)
            errors = "8 common causes" if covariance else "independent"
            figures = f"{proven} of {found} | {statistics.median(seconds):.2f} | {max(seconds):.2f}"
            yield f"| {name} | {errors} | {figures} |"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="searches a row, each over other random tables")
    parser.add_argument("--gap_runs", type=int, default=3, help="problems over which a gap is stated")
    parser.add_argument("--seconds", type=float, nargs="*", default=[1, 10, 60], help="times of the random search")
    parser.add_argument("--only", choices=("solver", "gap", "more"), help="print one of the tables")
    options = parser.parse_args()
    print(f"Two constraints ({', '.join(CONSTRAINTS)}), each row over so many random problems: {options.runs}; ")
    print(f"gaps: {options.gap_runs}. Rows of the first table are all proven.\n")
    parts = {
        "solver": solver_rows(options.runs),
        "gap": gap_rows(options.seconds, options.gap_runs),
        "more": more_rows(options.runs),
    }
    for name, rows in parts.items():
        if options.only in (None, name):
            for row in rows:
                print(row, flush=True)
            print()


if __name__ == "__main__":
    main()
