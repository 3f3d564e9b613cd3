"""What a latency table is worth: single swaps, as in the paper, against designed mixtures, on networks unseen by both.

Both get as many measured networks and as many timed runs of each; a third table gets a quarter of the networks. The
measurements are made in turns, so that the machine's moods are the same for all. Networks that are held out are
measured until their standard error is below `--precision`. Everything goes into the journal in `--out`, and what is
there already is not measured again: the fits can be looked at anew without measuring.

The network that is opened first is not as fast as the one opened after it: held-out networks are measured in either
order, and tell by how much. "Four quarters" are disjoint parts of the mixtures, each a table of its own: the errors of
one table's predictions go together, so that a single table says little of how often intervals hold.

  python benchmarks/latency_table.py --model=yolov5n --image_size=320 --out=latency-table
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from keras_actnas.core import CANDIDATES, Assignment
from keras_actnas.core.additivity import additivity
from keras_actnas.core.detectable import typical_detectable
from keras_actnas.core.journal import Journal, Measurement
from keras_actnas.core.table import Estimate, MetricTable
from keras_actnas.devices import HostDevice, Network, Request, record
from keras_actnas.export import to_editable
from keras_actnas.models import YOLO
from keras_actnas.search import mixtures, single_swaps
from keras_actnas.search.priors import CostPrior
from keras_actnas.search.readings import estimate, observations, of_metric, reference_estimate
from keras_actnas.search.tables import fit_table
from keras_actnas.surgery import current_assignment

CHUNK = 23
MOST_RUNS = 800


@dataclasses.dataclass(frozen=True)
class Bench:
    """The network, the device, and the journal of both."""

    device: HostDevice
    network: Network
    journal: Journal

    def measure(
        self, assignments: Sequence[Assignment], purpose: str, runs: int, reopen: bool = False
    ) -> list[Measurement]:
        """Measures networks that the journal has not measured for this purpose with so many runs."""
        request = Request(
            tuple(assignments), self.network.reference, runs, purpose, "benchmark", reopen=reopen, least_runs=runs
        )
        return of_metric(record(self.device, self.network, request, self.journal), "latency")


def held_out(reference: Assignment, count: int) -> list[Assignment]:
    """Returns random networks: half with all activations alike often, half with shares that are random as well."""
    rng = np.random.default_rng(12345)
    even = np.full(len(CANDIDATES), 1 / len(CANDIDATES))
    shares = [even if number % 2 else rng.dirichlet(even) for number in range(count)]
    return [Assignment((site, str(rng.choice(CANDIDATES, p=share))) for site in reference) for share in shares]


def in_turns(groups: dict[str, list[Assignment]]) -> Iterator[tuple[str, list[Assignment]]]:
    """Yields chunks of each group, such that all begin and end together."""
    count = max(-(-len(group) // CHUNK) for group in groups.values())
    for number in range(count):
        for purpose, group in groups.items():
            edges = np.linspace(0, len(group), count + 1).astype(int)
            yield purpose, group[edges[number] : edges[number + 1]]


def precise(bench: Bench, network: Assignment, precision: float, runs: int) -> Measurement:
    """Measures a network with more and more runs until its ratio to the reference is known that well."""
    while True:
        (made,) = bench.measure([network], "held-out", runs, reopen=True)
        own = reference_estimate([made])
        if estimate(made, own).standard_error < precision * own.value or runs >= MOST_RUNS:
            return made
        runs *= 2


def fit(lines: Sequence[Measurement], bench: Bench, prior: CostPrior | None) -> MetricTable:
    """Returns the latency table of measurements."""
    own = reference_estimate(lines)
    context = {"networks": len(lines)}
    made, reference = observations(lines, own), bench.network.reference
    return fit_table(made, reference, CANDIDATES, own, metric="latency", unit="ms", prior=prior, context=context)


def judge(table: MetricTable, truth: dict[Assignment, Estimate]) -> dict[str, float | None]:
    """Returns how a table predicts networks whose latency is known, in percent of the reference's."""
    scale = 100 / table.reference_value.value
    predicted = [table.predict(network) - table.reference_value.value for network in truth]
    predicted = [Estimate(one.value * scale, one.standard_error * scale) for one in predicted]
    found, left_out = additivity(predicted, list(truth.values())), table.context["leave_out_error"]
    return {
        "networks": table.context["networks"],
        "rms_percent": round(found.error, 3),
        "rms_beyond_noise": round(found.beyond_noise, 3),
        "mean_percent": round(found.bias, 3),
        "mean_error_percent": round(found.bias_error, 3),
        "rank_correlation": round(found.correlation, 3),
        "interval_95_covers": round(found.covered, 3),
        "stated_error_percent": round(math.sqrt(np.mean([one.standard_error**2 for one in predicted])), 3),
        "leave_out_percent": None if left_out is None else round(left_out * scale, 3),
        "smallest_detectable_percent": round(typical_detectable(table) * scale, 3),
        "wild": table.context["wild"],
    }


def opening_order(measurements: Sequence[Measurement]) -> Estimate:
    """Returns by how much a ratio is off when the reference is opened first, in percent of the latency.

    Sessions of one measurement open the two networks in either order by turns. What is measured in a single session
    has the whole of this offset, which no fit could tell from a sum of effects if it were the same for all.
    """
    halves = []
    for one in measurements:
        ratios = np.log(np.divide(one.samples, one.reference_samples))
        medians = np.array([np.median(part) for part in np.array_split(ratios, one.conditions["sessions"])])
        halves.append(50 * (medians[::2].mean() - medians[1::2].mean()))
    return Estimate(float(np.mean(halves)), float(np.std(halves, ddof=1) / math.sqrt(len(halves))))


def main() -> None:
    """Prints how each table predicts the networks that were held out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov5n")
    parser.add_argument("--image_size", type=int, default=320)
    parser.add_argument("--runs", type=int, default=8, help="timed runs of each network of a design")
    parser.add_argument("--held_out", type=int, default=40)
    parser.add_argument("--precision", type=float, default=0.007, help="standard error of what is held out, as a share")
    parser.add_argument("--out", default="latency-table", help="folder of the journal")
    options = parser.parse_args()
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    model = YOLO(options.model, input_shape=(options.image_size, options.image_size, 3))
    with HostDevice() as device, Journal(folder / "journal.jsonl") as journal:
        path = folder / "reference.tflite"
        if not path.exists():
            to_editable(model, path, "float32", None)
        bench = Bench(device, device.open_network(path), journal)
        report(bench, current_assignment(model).at(bench.network.reference), options)


def report(bench: Bench, reference: Assignment, options: argparse.Namespace) -> None:
    """Measures, fits, and prints a line of JSON for each table."""
    swaps = single_swaps(reference, CANDIDATES)
    groups = {
        "single swaps": [swaps[index] for index in np.random.default_rng(0).permutation(len(swaps))],
        "mixtures": mixtures(reference, CANDIDATES, len(swaps), seed=0),
        "a quarter of the mixtures": mixtures(reference, CANDIDATES, len(swaps) // 4, seed=1),
        "held-out": held_out(reference, options.held_out),
    }
    made: dict[str, list[Measurement]] = {purpose: [] for purpose in groups}
    for purpose, chunk in in_turns(groups):
        if purpose == "held-out":
            made[purpose] += [precise(bench, network, options.precision, 6 * options.runs) for network in chunk]
        else:
            made[purpose] += bench.measure(chunk, purpose, options.runs)
    truth = {}
    for one in made["held-out"]:
        own = reference_estimate([one])
        change, scale = estimate(one, own) - own.value, 100 / own.value
        truth[one.assignment] = Estimate(change.value * scale, change.standard_error * scale)
    values = np.array([value.value for value in truth.values()])
    noise = np.array([value.standard_error for value in truth.values()])
    order = opening_order(made["held-out"])
    print(
        json.dumps(
            {
                "held_out": len(truth),
                "spread_percent": round(float(values.std(ddof=1)), 3),
                "mean_percent": round(float(values.mean()), 3),
                "largest_standard_error_percent": round(float(noise.max()), 3),
                "rms_standard_error_percent": round(float(np.sqrt(np.mean(noise**2))), 3),
                "reference_ms": round(reference_estimate(made["held-out"]).value, 2),
                "reference_opened_first_percent": round(order.value, 3),
                "reference_opened_first_error": round(order.standard_error, 3),
            }
        )
    )
    prior = CostPrior({site.name: float(site.elements) for site in bench.network.sites})
    tables: dict[str, list[MetricTable]] = {}
    tables["single swaps"] = [fit(made["single swaps"], bench, None)]
    for purpose in ("mixtures", "a quarter of the mixtures"):
        tables[purpose] = [fit(made[purpose], bench, prior)]
    parts = np.array_split(np.random.default_rng(0).permutation(len(made["mixtures"])), 4)
    tables["four quarters of the mixtures"] = [
        fit([made["mixtures"][index] for index in part], bench, prior) for part in parts
    ]
    for name, group in tables.items():
        print(json.dumps({"table": name, **mean_of([judge(table, truth) for table in group])}))


def mean_of(judged: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    """Returns the mean of each figure over tables, None where one has none."""
    columns = {key: [one[key] for one in judged] for key in judged[0]}
    return {
        key: None if None in values else round(float(np.mean(np.array(values, np.float64))), 3)
        for key, values in columns.items()
    }


if __name__ == "__main__":
    main()
