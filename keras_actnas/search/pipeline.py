"""The search from end to end: convert, measure, score, fit, solve, verify. Every step can be run by itself as well."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.proposal import Proposal, save_proposals
from keras_actnas.core.table import Estimate, MetricTable
from keras_actnas.export import TFLiteNetwork, to_editable
from keras_actnas.export.keras_files import save_keras
from keras_actnas.search import latency, scores
from keras_actnas.search.designs import make_design
from keras_actnas.search.ilp import solve_ilp
from keras_actnas.search.images import image_batch
from keras_actnas.search.nwot import NWOTScorer
from keras_actnas.search.priors import CostPrior, CurvePrior
from keras_actnas.search.run_folder import RunFolder
from keras_actnas.search.settings import SearchResult, SearchSettings
from keras_actnas.search.tables import fit_table
from keras_actnas.surgery import activation_sites, replace_activations
from keras_actnas.tflite_bench import DEFAULT_RUNS, TFLiteRunner

Progress = Callable[[Any, str], Any]
Say = Callable[[str], None]


class Search:
    """One search of one model in one run folder. Each stage continues where an earlier, killed run stopped.

    Args:
      model: The reference network: functional or Sequential, with a fixed image size.
      out: The run folder.
      settings: What to search for and how.
      score_model: The same network at another image size, for the score alone; its sites must be the same.
      name: What the model is called in the run folder.
      progress: Wraps an iterable for a progress bar: `progress(iterable, label)`.
      say: Receives a line of text for each thing worth knowing.

    Raises:
      InputError: The model has no activation to swap, or the folder belongs to another run.
    """

    def __init__(
        self,
        model: keras.Model,
        out: str | os.PathLike[str],
        settings: SearchSettings | None = None,
        *,
        score_model: keras.Model | None = None,
        name: str = "",
        progress: Progress | None = None,
        say: Say = lambda line: None,
    ) -> None:
        self.model = model
        self.score_model = score_model or model
        self.settings = settings or SearchSettings()
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._say = say
        self._scorer: NWOTScorer | None = None
        self._network: TFLiteNetwork | None = None
        _check_same_sites(self.model, self.score_model)
        fingerprint = model_fingerprint(model)
        self.folder = RunFolder(
            out,
            {
                "model": name or model.name,
                "weights": fingerprint,
                "input_shape": list(model.inputs[0].shape[1:]),
                "device": "host",
                "num_threads": self.settings.num_threads,
                "delegate": self.settings.delegate,
            },
        )
        self._hash = fingerprint

    def run(self) -> SearchResult:
        """Runs every stage and leaves the results in the folder."""
        self.convert()
        tables = {latency.METRIC: self.bench(), scores.METRIC: self.score()}
        return self.verify(self.solve(tables), tables)

    def convert(self) -> TFLiteNetwork:
        """Returns the converted network; converts only where the folder has none yet."""
        if self._network is None:
            path = self.folder.file("reference.tflite")
            with self._timed("convert"):
                if not path.exists():
                    self._say(str(to_editable(self.model, path)))
                self._network = TFLiteNetwork(path)
        return self._network

    def design(self, reference: Assignment) -> list[Assignment]:
        """Returns the networks to measure and to score."""
        settings = self.settings
        swaps = sum(1 for current in reference.values() for name in settings.activations if name != current)
        return make_design(settings.design, reference, settings.activations, settings.networks or swaps, settings.seed)

    def bench(self) -> MetricTable:
        """Measures the latency of the design on this machine; returns and saves the latency table."""
        network = self.convert()
        design = self.design(network.reference)
        with self._timed("bench"):
            bench = self._host_bench(network, len(design))
            made = self._measure(design, bench, "design")
            reference = latency.latency_of_reference(made)
            prior = CostPrior({site.name: float(site.elements) for site in network.sites})
            table = fit_table(
                latency.latency_observations(made, reference),
                network.reference,
                self.settings.activations,
                reference,
                metric=latency.METRIC,
                unit=latency.UNIT,
                prior=None if self.settings.design == "single_swaps" else prior,
                context={"design": self.settings.design, "networks": len(design), "conditions": made[0].conditions},
            )
        self.folder.save_table(table)
        return table

    def score(self) -> MetricTable:
        """Computes the NWOT of the design; returns and saves its table."""
        with self._timed("score"):
            scorer = self.scorer()
            design = self.design(scorer.reference)
            made = self._scores(design, "design")
            reference, observations = scores.score_observations(made)
            table = fit_table(
                observations,
                scorer.reference,
                self.settings.activations,
                reference,
                metric=scores.METRIC,
                unit=scores.UNIT,
                prior=None if self.settings.design == "single_swaps" else CurvePrior(),
                context={"design": self.settings.design, "networks": len(design), "seeds": self.settings.score_seeds()},
            )
        self.folder.save_table(table)
        return table

    def solve(self, tables: dict[str, MetricTable]) -> list[Proposal]:
        """Returns the best assignments that the tables promise."""
        settings = self.settings
        with self._timed("solve"):
            result = solve_ilp(
                tables,
                minimize=settings.minimize,
                maximize=settings.maximize,
                constraints=settings.constraints,
                top_k=settings.top_k,
                min_distance=settings.min_distance,
                solver=settings.solver,
            )
        return result.proposals

    def verify(self, proposals: Sequence[Proposal], tables: dict[str, MetricTable]) -> SearchResult:
        """Measures and scores every proposal, puts the best first, and writes the results."""
        network = self.convert()
        reference = network.reference
        uniform = [Proposal(f"all {name}", Assignment.uniform(reference, name)) for name in self.settings.activations]
        rows = [*proposals, *(row for row in uniform if row.assignment != reference)]
        with self._timed("verify"):
            runs = self.settings.runs or DEFAULT_RUNS
            times = self._measure([row.assignment for row in rows], self._bench(runs), "verify")
            made = self._scores([row.assignment for row in rows], "verify")
            measured, own = _estimates(times, made)
        rows = [
            dataclasses.replace(row, measured=measured[row.assignment], predicted=_predicted(row, tables, own))
            for row in rows
        ]
        baseline = Proposal("reference", reference, measured=own)
        result = SearchResult(
            baseline,
            sorted(rows[: len(proposals)], key=lambda row: self._rank(row, baseline)),
            rows[len(proposals) :],
            tables,
            self.settings.constraints,
            self.seconds,
        )
        with self._timed("write"):
            self._write(result)
        return result

    def scorer(self) -> NWOTScorer:
        """Returns the scorer, which is built once."""
        if self._scorer is None:
            self._scorer = make_scorer(self.score_model, self.settings)
        return self._scorer

    def _rank(self, row: Proposal, reference: Proposal) -> tuple[float, float]:
        """Sorts by how far the constraints are broken, beyond the errors of measuring, then by the objective."""
        broken = 0.0
        for constraint in self.settings.constraints:
            if row.standing(constraint, reference) == "broken":
                own = reference.measured[constraint.metric].value
                broken += constraint.shortfall(row.measured[constraint.metric].value, own) / max(abs(own), 1e-9)
        sign = -1.0 if self.settings.maximize else 1.0
        return broken, sign * row.measured[self.settings.objective].value

    def _host_bench(self, network: TFLiteNetwork, networks: int) -> latency.HostBench:
        """Chooses the number of runs from the time that the reference takes."""
        if self.settings.runs:
            return self._bench(self.settings.runs)
        runner = TFLiteRunner(network.edit({}), self.settings.num_threads, self.settings.delegate)
        runner.warm_up(3)
        latency_ms = float(np.median([runner.run() for _ in range(5)]))
        runs = latency.affordable_runs(latency_ms, networks, 60 * self.settings.minutes)
        if runs < DEFAULT_RUNS:
            self._say(
                f"Each of {networks} networks gets {runs} timed runs, not {DEFAULT_RUNS}, to keep measuring within "
                f"{self.settings.minutes:g} minutes (--minutes, --runs); proposals get {DEFAULT_RUNS}."
            )
        return self._bench(runs)

    def _bench(self, runs: int) -> latency.HostBench:
        return latency.HostBench(self.settings.num_threads, self.settings.delegate, runs)

    def _measure(self, assignments: Sequence[Assignment], bench: latency.HostBench, purpose: str) -> list[Any]:
        return latency.measure_assignments(
            self.convert(),
            assignments,
            self.folder.journal,
            bench,
            model_hash=self._hash,
            purpose=purpose,
            progress=self._progress,
        )

    def _scores(self, assignments: Sequence[Assignment], purpose: str) -> list[Any]:
        scorer = self.scorer()
        return scores.score_assignments(
            scorer,
            assignments,
            self.settings.score_seeds(),
            self.folder.journal,
            model_hash=self._hash,
            purpose=purpose,
            progress=self._progress,
        )

    def _write(self, result: SearchResult) -> None:
        context = {
            "minimize": self.settings.minimize,
            "maximize": self.settings.maximize,
            "constraints": [str(constraint) for constraint in self.settings.constraints],
            "reference": result.reference.to_json(),
            "baselines": [row.to_json() for row in result.baselines],
        }
        save_proposals(self.folder.file("proposals.json"), result.proposals, context)
        best = result.best.assignment
        best.save(self.folder.file("best.json"))
        save_keras(replace_activations(self.model, best), self.folder.file("best.keras"))
        self.convert().save(self.folder.file("best.tflite"), best)

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def make_scorer(model: keras.Model, settings: SearchSettings) -> NWOTScorer:
    """Returns a scorer of a model on the photographs that the settings name."""
    shape = tuple(model.inputs[0].shape[1:])
    images = image_batch(settings.images, settings.batch_size, shape, settings.seed, settings.pixel_max)
    return NWOTScorer(model, images, settings.activations, settings.batch_norm)


def model_fingerprint(model: keras.Model) -> str:
    """Returns a hash of a model's sites, layer names and weights: what the measurements of a run depend on."""
    digest = hashlib.sha256()
    for site in activation_sites(model):
        digest.update(f"{site.name}={site.activation};".encode())
    for weight in model.weights:
        digest.update(f"{weight.path}:{weight.shape};".encode())
        digest.update(np.ascontiguousarray(weight.numpy() if hasattr(weight, "numpy") else weight).tobytes())
    return digest.hexdigest()[:16]


def _check_same_sites(model: keras.Model, score_model: keras.Model) -> None:
    sites = [site.name for site in activation_sites(model)]
    if not sites:
        raise InputError(f"Expected a model with activations to swap. Received: {model.name!r}, which has none.")
    if sites != [site.name for site in activation_sites(score_model)]:
        raise InputError("Expected a score_model with the sites of the model. Received: one with others.")


def _estimates(
    times: Sequence[Any], made: Sequence[Any]
) -> tuple[dict[Assignment, dict[str, Estimate]], dict[str, Estimate]]:
    """Returns what was measured of every assignment, and of the reference, in the same run."""
    own_latency = latency.latency_of_reference(times)
    own_score, score_of = scores.score_estimates(made)
    measured = {
        measurement.assignment: {
            latency.METRIC: latency.latency_estimate(measurement, own_latency),
            scores.METRIC: score_of[measurement.assignment],
        }
        for measurement in times
    }
    return measured, {latency.METRIC: own_latency, scores.METRIC: own_score}


def _predicted(row: Proposal, tables: dict[str, MetricTable], reference: dict[str, Estimate]) -> dict[str, Estimate]:
    """Returns what the tables predict, on the scale of the verifying measurement.

    A machine may run at another speed than when the table was measured: a latency is predicted as a share of the
    reference's.
    """
    predicted = {}
    for metric, table in tables.items():
        value = table.predict(row.assignment)
        scale = reference[metric].value / table.reference_value.value if table.unit else 1.0
        predicted[metric] = Estimate(value.value * scale, value.standard_error * scale)
    return predicted
