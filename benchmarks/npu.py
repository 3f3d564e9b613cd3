"""The paper's table 2 on Ethos-U NPUs, and how much of what ReLU saves the search keeps, on NPUs and on this machine.

  python benchmarks/npu.py --devices vela:ethos-u65-512,vela:ethos-u55-128,host

For each device: tables of YOLOv5n (224 px on an NPU, 320 px elsewhere), then SiLU, ReLU, hard-swish, naive, LZCM and
the best of ILP's proposals, each compiled or measured. A share of the headroom is (SiLU - network) / (SiLU - ReLU); the
ILP keeps NWOT at SiLU's or above. On an NPU every figure is Vela's estimate. Memory is SRAM there, and the peak
resident size of a fresh process elsewhere. The scores are those of the same networks for all devices, computed once.
"""

import argparse
import tempfile
import time
from pathlib import Path

import keras

from keras_actnas.core import Estimate, Journal, Proposal
from keras_actnas.devices import open_device
from keras_actnas.models import YOLO
from keras_actnas.search import Search, SearchSettings, solve_lzcm, solve_naive
from keras_actnas.search.metrics import LATENCY, NWOT

PAPER = {
    "reference": (22.35, 1230.0, 0.3400),
    "all relu": (17.46, 588.0, 0.3205),
    "all hard_swish": (18.53, 392.0, 0.3342),
    "lzcm-relu": (21.87, 1200.0, 0.3360),
    "lzcm-hard_swish": (19.55, 624.75, 0.3346),
    "naive": (21.43, 661.5, 0.3380),
    "ilp-1": (17.37, 514.5, 0.3420),
}
"""The paper's table 2: latency in ms, RAM in KB, mAP; its ActNAS1 stands beside the best of ours."""


def make_search(spec: str, folder: Path, seeds: int, scored: Journal | None) -> Search:
    """Returns the search on a device; `scored` is a journal whose scores it takes over."""
    size = 224 if spec.startswith("vela:") else 320
    keras.utils.set_random_seed(0)
    model, score_model = (YOLO("yolov5n", input_shape=(pixels, pixels, 3)) for pixels in (size, 224))
    search = Search(model, folder, SearchSettings(seeds=seeds), device=open_device(spec), score_model=score_model)
    if scored is not None and not search.folder.journal.select(NWOT):
        with search.folder.journal as journal:
            journal.append(*scored.select(NWOT))
    return search


def print_table(spec: str, reference: Proposal, rows: list[Proposal], memory: str) -> None:
    """Prints the rows of the paper's table 2, with the paper's improvement over SiLU in brackets."""
    silu = reference.measured
    hard_swish, relu = (
        next(row.measured for row in rows if row.name == f"all {name}") for name in ("hard_swish", "relu")
    )
    headroom = silu[LATENCY].value - relu[LATENCY].value
    print(f"\n| {spec} | latency, ms | over hard-swish | over SiLU | {memory}, KiB | over SiLU | NWOT | headroom |")
    print("|---|---|---|---|---|---|---|---|")
    for row in (reference, *rows):
        latency, ram = row.measured[LATENCY].value, row.measured[memory].value
        gains = [100 * (1 - latency / other[LATENCY].value) for other in (hard_swish, silu)]
        saved = 100 * (1 - ram / silu[memory].value)
        nwot = row.measured[NWOT]
        share = (silu[LATENCY].value - latency) / headroom
        paper = PAPER.get(row.name)
        beside = (
            ["", ""] if paper is None else [f" ({100 * (1 - paper[n] / PAPER['reference'][n]):.1f})" for n in (0, 1)]
        )
        cells = [
            row.name,
            f"{latency:.4g}",
            f"{gains[0]:+.2f} %",
            f"{gains[1]:+.2f}{_error(row.measured[LATENCY], silu[LATENCY])} %{beside[0]}",
            f"{ram:.1f}",
            f"{saved:+.1f} %{beside[1]}",
            f"{nwot.value - silu[NWOT].value:+.2f} +- {nwot.standard_error:.2f}",
            f"{100 * share:.0f} %",
        ]
        print(f"| {' | '.join(cells)} |")


def _error(estimate: Estimate, reference: Estimate) -> str:
    """Returns the standard error of an improvement, in percent; nothing for an exact one."""
    share = 100 * estimate.standard_error / reference.value
    return f" +- {share:.2f}" if share > 0 else ""


def main() -> None:
    """Prints a table for each device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default="vela:ethos-u65-512,vela:ethos-u55-128,host")
    parser.add_argument("--seeds", type=int, default=3, help="initializations that NWOT is averaged over")
    parser.add_argument("--out", help="folder of the runs; a temporary one by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scored = None
        for spec in options.devices.split(","):
            folder = Path(options.out or temporary, spec.replace(":", "-"))
            start = time.perf_counter()
            search = make_search(spec, folder, options.seeds, scored)
            with search.device:
                tables = search.bench()
                print(f"\n{spec}: tables after {time.perf_counter() - start:.0f} s, with the model and its conversion")
                tables[NWOT] = search.score()
                result = search.verify(*search.refine(tables))
                heuristics = [solve_naive(tables), solve_lzcm(tables, "relu"), solve_lzcm(tables, "hard_swish")]
                rows = [*result.baselines, *search.evaluate(heuristics, tables)[1], result.best]
            memory = "sram" if "sram" in result.reference.measured else "memory"
            print_table(spec, result.reference, rows, memory)
            scored = search.folder.journal


if __name__ == "__main__":
    main()
