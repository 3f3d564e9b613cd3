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

from keras_actnas.core.activations import CANDIDATES, parse_activations
from keras_actnas.core.assignment import Assignment
from keras_actnas.core.constraints import Constraint
from keras_actnas.core.errors import InputError
from keras_actnas.core.proposal import Proposal, save_proposals
from keras_actnas.core.table import Estimate, MetricTable
from keras_actnas.export import TFLiteNetwork, to_editable
from keras_actnas.export.keras_files import save_keras
from keras_actnas.search import latency, scores
from keras_actnas.search.designs import make_design
from keras_actnas.search.ilp import solve_ilp
from keras_actnas.search.images import image_batch
from keras_actnas.search.nwot import BatchNormMode, NWOTScorer
from keras_actnas.search.priors import CostPrior, CurvePrior
from keras_actnas.search.run_folder import RunFolder
from keras_actnas.search.tables import fit_table
from keras_actnas.surgery import activation_sites, replace_activations
from keras_actnas.tflite_bench import DEFAULT_RUNS, TFLiteRunner

Progress = Callable[[Any, str], Any]
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """What to search for and how.

    Attributes:
      activations: Candidates for every site.
      minimize: Metric to minimize: "latency" (ms) or "nwot" (minimizing it is rarely wanted; see `maximize`).
      maximize: Metric to maximize instead.
      constraints: Bounds on the metrics of the whole network.
      top_k: How many proposals.
      min_distance: In how many sites each proposal differs from every other, at least.
      solver: "highs" or "cbc".
      design: Which networks are measured: "mixtures" or "single_swaps" (the paper's).
      networks: How many mixtures are measured and scored; None for as many as there are single swaps.
      runs: Timed runs of each candidate; None for as many as `minutes` allow, at most 50.
      minutes: Time budget for measuring latencies.
      num_threads: Threads of the TFLite interpreter.
      delegate: "xnnpack" or "none".
      images: Folder of photographs for the score; None for those that scikit-image ships.
      batch_size: Images in the batch that the score is computed on.
      pixel_max: Value of a white pixel as the model expects it: 1 or 255.
      seeds: How many initializations the score is averaged over; 0 scores the weights that the model has.
      batch_norm: "inference" or "batch": see `NWOTScorer`.
      seed: Seed of everything random: first seed of the initializations, crops, design.
    """

    activations: tuple[str, ...] = CANDIDATES
    minimize: str | None = "latency"
    maximize: str | None = None
    constraints: tuple[Constraint, ...] = (Constraint("nwot", ">=", 1.0, 0.0),)
    top_k: int = 5
    min_distance: int = 3
    solver: str = "highs"
    design: str = "mixtures"
    networks: int | None = None
    runs: int | None = None
    minutes: float = 2.0
    num_threads: int = 1
    delegate: str = "xnnpack"
    images: str | None = None
    batch_size: int = 16
    pixel_max: float = 1.0
    seeds: int = 3
    batch_norm: BatchNormMode = "inference"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "activations", parse_activations(self.activations))
        for name, least in (("top_k", 1), ("min_distance", 1), ("num_threads", 1), ("batch_size", 2), ("seeds", 0)):
            if getattr(self, name) < least:
                raise InputError(f"Expected {name} of at least {least}. Received: {getattr(self, name)}.")
        for name in ("networks", "runs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"Expected {name} of at least 1. Received: {value}.")


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
      reference: The reference network with its measured metrics.
      proposals: Verified proposals, the best first.
      baselines: Networks with one activation everywhere, measured like the proposals.
      tables: Metric -> table.
      constraints: The constraints.
      seconds: Stage -> time it took, s.
    """

    reference: Proposal
    proposals: list[Proposal]
    baselines: list[Proposal]
    tables: dict[str, MetricTable]
    constraints: tuple[Constraint, ...]
    seconds: dict[str, float]

    @property
    def best(self) -> Proposal:
        """The best verified proposal."""
        return self.proposals[0]


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
                context={"design": self.settings.design, "networks": len(design), "seeds": self.seeds()},
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
        order = sorted(rows[: len(proposals)], key=lambda row: self._rank(row, own))
        result = SearchResult(
            Proposal("reference", reference, measured=own),
            order,
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
            settings = self.settings
            shape = tuple(self.score_model.inputs[0].shape[1:])
            images = image_batch(settings.images, settings.batch_size, shape, settings.seed, settings.pixel_max)
            self._score_conditions = {
                "images": hashlib.sha256(images.tobytes()).hexdigest()[:16],
                "batch_size": len(images),
                "input_shape": list(shape),
                "batch_norm": settings.batch_norm,
            }
            self._scorer = NWOTScorer(self.score_model, images, settings.activations, settings.batch_norm)
        return self._scorer

    def _rank(self, row: Proposal, reference: dict[str, Estimate]) -> tuple[float, float]:
        """Sorts by total violation of the constraints, as measured, then by the objective."""
        violation = 0.0
        for constraint in self.settings.constraints:
            value, own = row.measured[constraint.metric].value, reference[constraint.metric].value
            if not constraint.holds(value, own):
                violation += abs(value - constraint.bound(own)) / max(abs(own), 1e-9)
        sign = -1.0 if self.settings.maximize else 1.0
        return violation, sign * row.measured[str(self.settings.maximize or self.settings.minimize)].value

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
            self.seeds(),
            self.folder.journal,
            model_hash=self._hash,
            purpose=purpose,
            conditions=self._score_conditions,
            progress=self._progress,
        )

    def seeds(self) -> list[int | None]:
        """Returns the seeds of the initializations that scores are averaged over; None for the model's own weights."""
        return [self.settings.seed + number for number in range(self.settings.seeds)] or [None]

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
