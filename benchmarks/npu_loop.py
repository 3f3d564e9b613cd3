"""The closed loop on an Ethos-U against a local search that tries 20,000 networks on Vela and NWOT themselves.

  python benchmarks/npu_loop.py --device=vela:ethos-u55-128 --evaluations=20000

A small residual network with ten sites, five activations each; the same objective and bound on NWOT, and the same
scores for both. ReLU everywhere would be the fastest, and breaks the bound. Vela is deterministic: both are judged by
what it says. The local search starts from the reference and knows no tables. What it measured is kept in `--out` and
not measured again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np

from keras_actnas.core import CANDIDATES, Assignment, Constraint, Proposal
from keras_actnas.devices import Request, open_device
from keras_actnas.search import Search, SearchSettings, solve_local
from keras_actnas.search.preparation import make_proxies

FLUSH = 200


def network() -> keras.Model:
    """Returns the network: a stem, four residual blocks of two convolutions each, and a last convolution."""
    layers = keras.layers

    def convolution(x, filters, strides, name):
        x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=f"{name}-conv")(x)
        return layers.BatchNormalization(name=f"{name}-norm")(x)

    inputs = keras.Input((64, 64, 3))
    x = layers.Activation("silu", name="stem")(convolution(inputs, 16, 2, "stem"))
    for number, filters in enumerate((16, 24, 32, 48)):
        strides = 2 if number else 1
        inner = layers.Activation("silu", name=f"inner{number}")(convolution(x, filters, strides, f"inner{number}"))
        inner = convolution(inner, filters, 1, f"outer{number}")
        if strides > 1:
            x = layers.Conv2D(filters, 1, strides, use_bias=False, name=f"shortcut{number}")(x)
        x = layers.Activation("silu", name=f"outer{number}")(layers.Add()([x, inner]))
    x = layers.Activation("silu", name="last")(convolution(x, 64, 1, "last"))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


class Direct:
    """Measures networks on the device and by the proxy; keeps what it measured in a file."""

    def __init__(self, search: Search, file: Path) -> None:
        self._search = search
        self._proxies = make_proxies(search.model, search.settings)
        self._file = file
        self._known: dict[str, dict[str, float]] = {}
        self._new: list[str] = []
        if file.exists():
            self._known = dict(json.loads(line) for line in file.read_text().splitlines())

    def __call__(self, assignment: Assignment) -> dict[str, float]:
        """Returns latency and NWOT, the mean over the seeds."""
        if assignment.digest not in self._known:
            reference = self._search.reference
            request = Request((assignment,), reference, purpose="local")
            ((_, reading),) = self._search.device.measure_all(self._search.convert(), request)
            starts = self._search.settings.score_starts()
            scores = [self._proxies[batch].score(assignment, seed) for seed, batch in starts]
            values = {"latency": reading.samples["latency"][0], "nwot": float(np.mean(scores))}
            self._known[assignment.digest] = values
            self._new.append(json.dumps([assignment.digest, values]) + "\n")
            if len(self._new) == FLUSH:
                self.flush()
        return self._known[assignment.digest]

    def flush(self) -> None:
        """Writes what was measured since the last time."""
        with self._file.open("a") as file:
            file.writelines(self._new)
        self._new.clear()


def figures(row: Proposal, values: dict[str, float], own: dict[str, float]) -> dict[str, float]:
    """Returns what a network saves, and how far its score is from the reference's."""
    found = {
        "latency_percent": 100 * (values["latency"] / own["latency"] - 1),
        "nwot_difference": values["nwot"] - own["nwot"],
    }
    if "latency" in row.predicted:
        found["prediction_off_percent"] = 100 * (row.predicted["latency"].value - values["latency"]) / own["latency"]
    return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    """Prints the loop's proposal and the local search's best, a line of JSON each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="vela:ethos-u55-128")
    parser.add_argument("--evaluations", type=int, default=20_000, help="of the local search")
    parser.add_argument("--constraint", default="nwot>=reference")
    parser.add_argument("--seeds", type=int, default=1, help="initializations that NWOT is the mean of")
    parser.add_argument("--out", default="npu-loop", help="folder of the run and of what was measured")
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    model = network()
    settings = SearchSettings(seeds=options.seeds, loop=True, constraints=(Constraint.parse(options.constraint),))
    folder = Path(options.out)
    start = time.perf_counter()
    with open_device(options.device) as device:
        search = Search(model, folder / "run", settings, device=device)
        result = search.run()
        relu = next(row for row in result.baselines if row.name == "all relu")
        seconds = time.perf_counter() - start
        direct = Direct(search, folder / f"direct-{options.seeds}.jsonl")
        own = direct(search.reference)
        looked = {one.assignment for one in search.folder.journal.select("latency")}
        best = figures(result.best, direct(result.best.assignment), own)
        rounds = [one.to_json()["agreement"]["latency"]["error"] / own["latency"] * 100 for one in result.rounds]
        line = {"networks": len(looked), "seconds": round(seconds), "rms_percent_of_rounds": rounds, **best}
        print(json.dumps({"all relu": figures(relu, direct(relu.assignment), own)}))
        print(json.dumps({"closed loop": line}), flush=True)
        start = time.perf_counter()
        local = solve_local(
            direct,
            search.reference,
            "latency",
            settings.constraints,
            activations=CANDIDATES,
            evaluations=options.evaluations,
        )
        direct.flush()
        line = {"networks": options.evaluations, "seconds": round(time.perf_counter() - start)}
        print(json.dumps({"local search": {**line, **figures(local, direct(local.assignment), own)}}))


if __name__ == "__main__":
    main()
