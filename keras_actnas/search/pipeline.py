"""The search from end to end: convert, measure, score, fit, solve, verify. Every step can be run by itself as well."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.constraints import Constraint
from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Measurement
from keras_actnas.core.proposal import Proposal, save_proposals
from keras_actnas.core.table import MetricTable
from keras_actnas.export import TFLiteNetwork, to_editable
from keras_actnas.export.activation_ops import check_editable
from keras_actnas.export.keras_files import save_keras
from keras_actnas.search import latency, scores
from keras_actnas.search.designs import is_exhaustive, make_design
from keras_actnas.search.fingerprint import model_fingerprint
from keras_actnas.search.ilp import InfeasibleError, solve_ilp
from keras_actnas.search.images import image_batch
from keras_actnas.search.nwot import NWOTScorer
from keras_actnas.search.priors import CostPrior, CurvePrior, Prior
from keras_actnas.search.progress import Progress
from keras_actnas.search.run_folder import RunFolder
from keras_actnas.search.settings import SearchResult, SearchSettings
from keras_actnas.search.tables import average_tables, fit_table
from keras_actnas.search.verification import (
    MarginSearch,
    choose,
    measured_metrics,
    predicted_metrics,
    rank,
    with_latency,
)
from keras_actnas.surgery import activation_sites, replace_activations
from keras_actnas.tflite_bench import DEFAULT_RUNS, TFLiteRunner, describe_device, load_runtime

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
        check_editable(self.settings.activations)
        self._fingerprint = model_fingerprint(model)
        self.folder = RunFolder(out, self._identity(name))

    def _identity(self, name: str) -> dict[str, object]:
        """Returns what the measurements depend on; what a person would name first comes first."""
        device, runtime = describe_device(), load_runtime()
        return {
            "model": name or self.model.name,
            "input_shape": list(self.model.inputs[0].shape[1:]),
            "seed": self.settings.seed,
            "num_threads": self.settings.num_threads,
            "delegate": self.settings.delegate,
            "runtime": f"{runtime.name} {runtime.version}",
            **{f"device {key}": device[key] for key in ("board", "cpu", "architecture", "cores")},
            "weights and structure": self._fingerprint,
        }

    def run(self) -> SearchResult:
        """Runs every stage; leaves tables, proposals and the best network in the folder."""
        with self.folder.journal:  # No other process may measure into it meanwhile.
            self.check()
            self.convert()
            tables = {latency.METRIC: self.bench(), scores.METRIC: self.score()}
            return self.verify(*self.refine(tables))

    def check(self) -> None:
        """Scores the reference once, so that what is wrong with model or images comes up before minutes of work."""
        _check_finite(self.model)
        with self._timed("score"):
            reference = Assignment((site.name, site.activation) for site in activation_sites(self.model))
            self._scores([], "design", reference, self.settings.score_seeds()[:1])

    def convert(self) -> TFLiteNetwork:
        """Returns the converted network; converts only where the folder has none yet."""
        if self._network is None:
            path = self.folder.file("reference.tflite")
            with self._timed("convert"):
                if not path.exists():
                    self._say(str(to_editable(self.model, path)))
                self._network = TFLiteNetwork(path)
        return self._network

    def design(self) -> list[Assignment]:
        """Returns the networks to measure and to score: mixtures of the sites that the .tflite can exchange."""
        settings = self.settings
        reference = self.convert().reference
        settings.check_networks({*settings.activations, *reference.values()})
        return make_design(settings.design, reference, settings.activations, settings.networks, settings.seed)

    def bench(self) -> MetricTable:
        """Measures the latency of the design on this machine; returns and saves the latency table."""
        network, design = self.convert(), self.design()
        with self._timed("bench"):
            made = self._measure(design, self._affordable(design, "network"), "design", self.settings.runs or 1)
            reference = latency.latency_of_reference(made)
            table = fit_table(
                latency.latency_observations(made, reference),
                network.reference,
                self.settings.activations,
                reference,
                metric=latency.METRIC,
                unit=latency.UNIT,
                prior=self._prior(CostPrior({site.name: float(site.elements) for site in network.sites})),
                context={"design": self.settings.design, "networks": len(design), "conditions": made[0].conditions},
            )
        self.folder.save_table(table)
        return table

    def score(self, also: Sequence[Assignment] = ()) -> MetricTable:
        """Computes the NWOT of the design; returns and saves its table: the mean over the initializations.

        Args:
          also: More networks to score and to fit the table to.
        """
        network, design, seeds = self.convert(), self.design(), self.settings.score_seeds()
        with self._timed("score"):
            made = self._scores([*design, *also], "design", network.reference, seeds)
            tables = [
                fit_table(
                    observations,
                    network.reference,
                    self.settings.activations,
                    reference,
                    metric=scores.METRIC,
                    unit=scores.UNIT,
                    prior=self._prior(CurvePrior()),
                    context={"design": self.settings.design, "networks": len(made) // len(seeds), "seeds": seeds},
                )
                for reference, observations in scores.score_observations(made).values()
            ]
            table = average_tables(tables)
        self.folder.save_table(table)
        return table

    def solve(self, tables: dict[str, MetricTable], constraints: Sequence[Constraint] | None = None) -> list[Proposal]:
        """Returns the best assignments that the tables promise, under the settings' constraints or others."""
        settings = self.settings
        with self._timed("solve"):
            result = solve_ilp(
                tables,
                minimize=settings.minimize,
                maximize=settings.maximize,
                constraints=settings.constraints if constraints is None else constraints,
                top_k=settings.top_k,
                min_distance=settings.min_distance,
                solver=settings.solver,
            )
        return result.proposals

    def refine(self, tables: dict[str, MetricTable]) -> tuple[list[Proposal], dict[str, MetricTable]]:
        """Returns proposals, and the tables with what was learned from scoring them.

        A solver goes where the tables err in its favour. A score is cheap to compute, so proposals are scored, the
        score table is fitted again, and, if they miss a bound on the score, solved again with that bound tightened:
        by what they missed it by, then by as little as will do, until `rounds` are over. Single swaps, the paper's
        protocol, are taken as they are.
        """
        settings = self.settings
        if settings.design == "single_swaps":
            return self.solve(tables), tables
        found: dict[Assignment, Proposal] = {}
        search = MarginSearch()
        margins: list[float] = [0.0] * len(settings.constraints)
        for _ in range(settings.rounds):
            tightened = [
                bound.tightened(search.share * by) for bound, by in zip(settings.constraints, margins, strict=True)
            ]
            try:
                proposals = self.solve(tables, tightened)
            except InfeasibleError:
                if not found:
                    raise
                break  # Only the tightened bounds cannot be kept.
            found = {**{proposal.assignment: proposal for proposal in proposals}, **found}
            tables = {**tables, scores.METRIC: self.score(also=list(found))}
            missed = self._missed([proposal.assignment for proposal in proposals])
            if not any(margins):
                margins = missed
            if not any(margins):
                break
            search.report(kept=not any(missed))
        kept = {assignment for assignment in found if not any(self._missed([assignment]))}
        return choose(list(found.values()), kept, tables, settings), tables

    def verify(self, proposals: Sequence[Proposal], tables: dict[str, MetricTable]) -> SearchResult:
        """Measures and scores every proposal, puts the best first, and writes the results.

        The best is measured once more, and that is the latency it is reported with: the first measurement made it the
        best, partly by luck.
        """
        reference = self.convert().reference
        uniform = [Proposal(f"all {name}", Assignment.uniform(reference, name)) for name in self.settings.activations]
        rows = [*proposals, *(row for row in uniform if row.assignment != reference)]
        networks = [row.assignment for row in rows]
        with self._timed("verify"), self.folder.journal:
            runs = self._affordable(networks, "proposal", tables[latency.METRIC].reference_value.value)
            times = self._measure(networks, runs, "verify", runs)
            made = self._scores(networks, "verify", reference, self.settings.score_seeds())
            own, measured = measured_metrics(times, made, reference)
            baseline = Proposal("reference", reference, measured=own)
            rows = [
                dataclasses.replace(
                    row,
                    measured=measured[row.assignment],
                    predicted=predicted_metrics(row, tables, own),
                )
                for row in rows
            ]
            ranked = rank(rows[: len(proposals)], baseline, self.settings)
            best, *others = (dataclasses.replace(row, name=f"ilp-{n}") for n, row in enumerate(ranked, start=1))
            again = self._measure([best.assignment], runs, "confirm", runs)
            best = with_latency(best, latency.latency_estimate(again[0], own[latency.METRIC]))
        result = SearchResult(baseline, [best, *others], rows[len(proposals) :], tables, self.settings, self.seconds)
        with self._timed("write"):
            self._write(result)
        return result

    def scorer(self) -> NWOTScorer:
        """Returns the scorer, which is made once."""
        if self._scorer is None:
            self._scorer = make_scorer(self.score_model, self.settings)
        return self._scorer

    def _missed(self, assignments: Sequence[Assignment]) -> list[float]:
        """Returns, for every constraint, by how much the computed scores miss it at most; 0 for other metrics."""
        reference = self.convert().reference
        made = self._scores(assignments, "design", reference, self.settings.score_seeds())
        own, estimates = scores.score_estimates(made, reference)
        return [
            max(bound.shortfall(estimates[assignment].value, own.value) for assignment in assignments)
            if bound.metric == scores.METRIC
            else 0.0
            for bound in self.settings.constraints
        ]

    def _prior(self, prior: Prior) -> Prior | None:
        """Returns the prior, or None where the design tells every effect by itself."""
        settings = self.settings
        complete = is_exhaustive(self.convert().reference, settings.activations, settings.networks)
        return None if complete or settings.design == "single_swaps" else prior

    def _affordable(self, networks: Sequence[Assignment], what: str, reference_ms: float | None = None) -> int:
        """Returns how many timed runs each network gets: as many as were asked for, or as the time allows."""
        if self.settings.runs:
            return self.settings.runs
        reference_ms = reference_ms or self._probe()
        runs = latency.affordable_runs(reference_ms, len(networks), 60 * self.settings.minutes)
        if runs < DEFAULT_RUNS:
            minutes = latency.measuring_seconds(reference_ms, len(networks), runs) / 60
            self._say(
                f"Each {what} gets {runs} timed runs, not {DEFAULT_RUNS}: {len(networks)} of them take about "
                f"{minutes:.1f} minutes then (--minutes={self.settings.minutes:g}, --runs)."
            )
        return runs

    def _probe(self) -> float:
        """Returns about how long the reference takes, in ms."""
        runner = TFLiteRunner(self.convert().edit({}), self.settings.num_threads, self.settings.delegate)
        runner.warm_up(3)
        return float(np.median([runner.run() for _ in range(5)]))

    def _measure(
        self, assignments: Sequence[Assignment], runs: int, purpose: str, least_runs: int
    ) -> list[Measurement]:
        with self.folder.journal as journal:
            return latency.measure_assignments(
                self.convert(),
                assignments,
                journal,
                latency.HostBench(self.settings.num_threads, self.settings.delegate, runs, least_runs),
                model_hash=self._fingerprint,
                purpose=purpose,
                progress=self._progress,
            )

    def _scores(
        self, assignments: Sequence[Assignment], purpose: str, reference: Assignment, seeds: Sequence[int | None]
    ) -> list[Measurement]:
        with self.folder.journal as journal:
            return scores.score_assignments(
                self.scorer(),
                assignments,
                seeds,
                journal,
                reference=reference,
                model_hash=self._fingerprint,
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


def _check_finite(model: keras.Model) -> None:
    for weight in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise InputError(
                f"Expected finite weights. Received: NaN or infinity in {weight.path!r} of {model.name!r}; did its "
                "training diverge?"
            )


def _check_same_sites(model: keras.Model, score_model: keras.Model) -> None:
    sites = [site.name for site in activation_sites(model)]
    if not sites:
        raise InputError(f"Expected a model with activations to swap. Received: {model.name!r}, which has none.")
    if sites != [site.name for site in activation_sites(score_model)]:
        raise InputError("Expected a score_model with the sites of the model. Received: one with others.")
