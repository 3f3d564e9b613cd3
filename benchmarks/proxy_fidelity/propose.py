"""What the package's solvers propose for a network of the study, to be trained beside the other assignments.

  python benchmarks/proxy_fidelity/propose.py --network residual --device vela:ethos-u55-128

The paper's naive network; LZCM with ReLU and with hard-swish; and the best proposals of searches: with the default
settings (least latency with NWOT at the reference's or above), and for the highest NWOT within budgets of latency. All
but the first by NWOT with BatchNorm as in inference and again by the batch. Then assignments drawn at random whose
latency is the default proposal's within 0.5 %: what the search is worth beyond its budget.

They go into `proposals_NETWORK.json`, {name: assignment}, from where `candidates.py` takes them. What an analysis has
to know of the network goes into `network_NETWORK.json`: the shapes of its sites, the latencies of all assignments.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import study_proxies
import tensorflow as tf
from candidates import candidates, proposals_file
from command import run_command
from subjects import SUBJECTS, Subject

from keras_actnas.core import Assignment, Constraint, MetricTable
from keras_actnas.devices import open_device
from keras_actnas.search import Search, SearchSettings, readings, solve_lzcm, solve_naive
from keras_actnas.search.metrics import LATENCY
from keras_actnas.surgery import activation_sites

MODES = {"inference": "study_nwot", "batch": "study_nwot_batch"}
"""Mode of BatchNorm -> the metric."""

BUDGETS = (1 / 3, 2 / 3)
"""How much of what ReLU saves a proposal has to save, where the score is maximized."""

DEFAULT = "ilp, default"


class Proposer:
    """Runs the searches of one network in one folder, so that no latency is estimated twice.

    Args:
      subject: The network.
      device: What it will run on, as `--device` takes it.
      folder: Folder of the run.
    """

    def __init__(self, subject: Subject, device: str, folder: Path) -> None:
        study_proxies.scored.append(subject)
        keras.utils.set_random_seed(0)
        self._model = subject.build(subject.size)
        self._device = open_device(device)
        self._folder = folder

    def proposals(self) -> Iterator[tuple[str, Assignment]]:
        """Yields the proposals by name."""
        for mode, metric in MODES.items():
            search = self._search(metric)
            tables = {**search.bench(), metric: search.score()}
            if mode == "inference":
                yield "naive", solve_naive(tables).assignment
            for activation in ("relu", "hard_swish"):
                yield f"lzcm {activation}, {mode}", solve_lzcm(tables, activation, metric).assignment
            yield f"{DEFAULT}, {mode}", search.run().best.assignment
            for share in BUDGETS:
                bound = _budget(tables[LATENCY], share)
                other = self._search(metric, minimize=None, maximize=metric, constraints=(bound,))
                yield f"ilp, {share:.0%} of the savings, {mode}", other.run().best.assignment

    def latencies(self, assignments: Sequence[Assignment]) -> list[float]:
        """Returns the latency of each, in ms."""
        measured = self._search(MODES["inference"]).measuring.measure(list(dict.fromkeys(assignments)), 1, "verify")
        found = {one.assignment: one.samples[0] for one in readings.of_metric(measured, LATENCY)}
        return [found[assignment] for assignment in assignments]

    def matched(self, target: Assignment, count: int, known: Sequence[Assignment], seed: int = 0) -> list[Assignment]:
        """Returns mixtures at random, with random shares, of the target's latency within 0.5 %."""
        table = self._search(MODES["inference"]).folder.load_tables()[LATENCY]
        (wanted,) = self.latencies([target])
        found: list[Assignment] = []
        for mixture in _mixtures(table, wanted, np.random.default_rng(seed)):
            close = abs(self.latencies([mixture])[0] / wanted - 1) <= 0.005
            if close and mixture not in (*known, *found, target):
                found.append(mixture)
            if len(found) == count:
                break
        return found

    def close(self) -> None:
        """Ends the device's processes."""
        self._device.close()

    def _search(self, metric: str, **settings: object) -> Search:
        proxy = f"{study_proxies.__name__}:{metric}"
        return Search(self._model, self._folder, SearchSettings(proxy=proxy, **settings), device=self._device)


def _budget(latency: MetricTable, share: float) -> Constraint:
    """Returns the bound on the latency under which a share of what ReLU saves everywhere is saved."""
    own = latency.reference_value.value
    relu = latency.predict(Assignment.uniform(latency.reference, "relu")).value
    return Constraint(LATENCY, "<=", 1.0, -share * (own - relu))


def _mixtures(
    table: MetricTable, wanted: float, rng: np.random.Generator, draws: int = 400_000
) -> Iterator[Assignment]:
    """Yields mixtures, with random shares of the activations, that the table says to take about so long."""
    sites, names = list(table.reference), table.activations
    shares = rng.dirichlet(np.full(len(names), 0.5), draws)
    uniform = rng.random((draws, len(sites), 1))
    drawn = np.minimum((uniform > shares.cumsum(axis=1)[:, None, :]).sum(axis=2), len(names) - 1)
    predicted = table.reference_value.value + table.delta[np.arange(len(sites)), drawn].sum(axis=1)
    for row in drawn[np.abs(predicted / wanted - 1) <= 0.005]:
        yield Assignment((site, names[column]) for site, column in zip(sites, row, strict=True))


def report(found: Mapping[str, Assignment], latency: Mapping[str, float]) -> None:
    """Prints the proposals with their latencies, and which networks some of them are the same as."""
    for name, assignment in found.items():
        same = [other for other in latency if other != name and found.get(other) == assignment]
        print(f"{name}: {latency[name]:.4f} ms, {assignment.summary()}{' = ' + ', '.join(same) if same else ''}")


def main() -> None:
    """Writes and prints the proposals and the latencies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="residual", choices=SUBJECTS)
    parser.add_argument("--device", default="vela:ethos-u55-128?processes=1")
    parser.add_argument("--data", help="folder of the images; see train.py")
    parser.add_argument("--matched", type=int, default=4, help="random assignments as fast as the default proposal")
    parser.add_argument("--out", help="folder of the search's run; a temporary one by default")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    subject = SUBJECTS[options.network](options.data)
    with tempfile.TemporaryDirectory() as temporary:
        proposer = Proposer(subject, options.device, Path(options.out or temporary, options.network))
        # As the study counts the sites, which halves depend on.
        found = {
            name: Assignment((site, one[site]) for site in subject.reference) for name, one in proposer.proposals()
        }
        target = found[f"{DEFAULT}, inference"]
        study = candidates(subject.reference, proposals=False)
        for number, one in enumerate(proposer.matched(target, options.matched, list(study.values()))):
            found[f"as fast as the default, {number}"] = one
        every = {**study, **found}
        latency = dict(zip(every, proposer.latencies(list(every.values())), strict=True))
        proposer.close()
    proposals_file(subject.name).write_text(
        json.dumps({name: dict(one) for name, one in found.items()}, indent=1) + "\n"
    )
    facts = {
        "device": options.device,
        "sites": {site.name: site.shape for site in activation_sites(subject.build(subject.size))},
        "latency": {name: round(value, 6) for name, value in latency.items()},
    }
    Path(__file__).with_name(f"network_{subject.name}.json").write_text(json.dumps(facts) + "\n")
    report(every, latency)


if __name__ == "__main__":
    run_command(main)
