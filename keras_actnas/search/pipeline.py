"""The search from end to end: convert, measure, score, fit, solve, verify. Every step can be run by itself as well."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence

import keras

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.constraints import Constraint
from keras_actnas.core.errors import InputError
from keras_actnas.core.proposal import Proposal
from keras_actnas.core.rounds import Round
from keras_actnas.core.table import MetricTable
from keras_actnas.devices import Device, HostDevice, Network
from keras_actnas.devices.recording import MORE_UNITS, board_of
from keras_actnas.export.activation_ops import check_editable
from keras_actnas.search import readings
from keras_actnas.search.closed_loop import ClosedLoop
from keras_actnas.search.contenders import contenders
from keras_actnas.search.design_budget import round_sizes
from keras_actnas.search.designs import make_design
from keras_actnas.search.fingerprint import model_fingerprint
from keras_actnas.search.grid import check_rules
from keras_actnas.search.ilp import solve_ilp
from keras_actnas.search.measuring import Measured, Measuring, Say
from keras_actnas.search.polishing import polished
from keras_actnas.search.preparation import check_finite, check_same_sites
from keras_actnas.search.progress import Progress
from keras_actnas.search.refinement import Refinement
from keras_actnas.search.results import write_results
from keras_actnas.search.run_folder import RunFolder
from keras_actnas.search.scoring import Scoring
from keras_actnas.search.settings import ADAPTIVE, SearchResult, SearchSettings
from keras_actnas.search.stopwatch import Stopwatch
from keras_actnas.search.verification import (
    TENSOR_MEMORY,
    measured_metrics,
    notes,
    predicted_metrics,
    rank,
    with_measured,
)
from keras_actnas.surgery import current_assignment

Tables = dict[str, MetricTable]

PROOF_SECONDS = 60.0
"""Time for solving where a score has the noise of trainings: where errors are large, a proof could take hours."""


class Search:
    """One search of one model in one run folder. Each stage continues where an earlier, killed run stopped.

    Args:
      model: The reference network: functional or Sequential, with a fixed image size.
      out: The run folder.
      settings: What to search for and how.
      device: What the network will run on; this machine with a TFLite runtime when None.
      score_model: The same network at another image size, for the score alone; its sites must be the same.
      name: What the model is called in the run folder.
      progress: Wraps an iterable for a progress bar: `progress(iterable, label)`.
      say: Receives a line of text for each thing worth knowing.

    Attributes:
      folder: The run folder.
      measuring: The device's side.
      scoring: The proxy's side.

    Raises:
      InputError: The model has no activation to swap, or the folder belongs to another run.
    """

    def __init__(
        self,
        model: keras.Model,
        out: str | os.PathLike[str],
        settings: SearchSettings | None = None,
        *,
        device: Device | None = None,
        score_model: keras.Model | None = None,
        name: str = "",
        progress: Progress | None = None,
        say: Say = lambda line: None,
    ) -> None:
        self.model = model
        self.settings = settings or SearchSettings()
        self.device = device or HostDevice()
        score_model = score_model or model
        self.settings.check_metrics([*self.device.metrics, self.settings.kind.name])
        check_same_sites(model, score_model)
        check_editable(self.settings.activations)
        check_rules(self.settings.rules, current_assignment(model), self.settings.activations)
        fingerprint = model_fingerprint(model)
        self._check_device(fingerprint)
        self.folder = RunFolder(out, self._identity(name, fingerprint))
        self._watch = Stopwatch()
        self.measuring = Measuring(
            model,
            self.device,
            self.folder,
            self.settings,
            fingerprint,
            watch=self._watch,
            progress=progress,
            say=say,
        )
        self.scoring = Scoring(
            score_model,
            self.measuring,
            self.folder,
            self.settings,
            fingerprint,
            watch=self._watch,
            progress=progress,
        )
        self._design_made: Measured = {}
        self._refinement = Refinement(self.solve, self.score, self.scoring.missed, self.settings)
        self._loop = ClosedLoop(self.measuring, self.refine, self.settings, watch=self._watch, say=say)

    def run(self) -> SearchResult:
        """Runs every stage; leaves tables, proposals and the best network in the folder."""
        with self.folder.journal:  # No other process may measure into it meanwhile.
            self.check()
            self.convert()
            tables = {**self.bench(), self.settings.kind.name: self.score()}
            if self.settings.loop:
                proposals, tables, rounds = self.loop(tables)
                return self.verify(proposals, tables, rounds)
            return self.verify(*self.refine(tables))

    @property
    def seconds(self) -> dict[str, float]:
        """Stage -> time it took so far, s."""
        return self._watch.seconds

    def check(self) -> None:
        """Scores the reference once, so that what is wrong with model or images comes up before minutes of work."""
        check_finite(self.model)
        self.scoring.check(current_assignment(self.model))

    def convert(self) -> Network:
        """Returns the converted network; converts only where the folder has none yet."""
        return self.measuring.network

    @property
    def reference(self) -> Assignment:
        """The model's own activations, at the sites that the converted network can exchange."""
        return self.measuring.reference

    def bench(self) -> Tables:
        """Has the device measure the design; returns and saves its tables, such as that of the latency.

        The tables that a device brings along are taken as they are.
        """
        tables = self.device.tables(self.reference)
        if tables is None:
            adaptive = self.settings.design == ADAPTIVE and self.device.available is None
            made = self._explore() if adaptive else self.measuring.measure_design(self.measuring.design())
            tables = self.measuring.tables(made)
            self._design_made = made
        return self._saved(tables)

    def _explore(self) -> Measured:
        """Measures the adaptive design: a main-effect plan, then, in rounds, what may be best by the tables so far."""
        settings, reference, measuring = self.settings, self.reference, self.measuring
        names = {*measuring.activations, *reference.values()}
        first, *sizes = round_sizes(settings.networks, settings.rounds, names)
        plan = make_design("orthogonal", reference, measuring.activations, first, settings.seed)
        made = measuring.measure_design(plan, settings.networks)
        score = {settings.kind.name: self.score()}
        for number, size in enumerate(sizes, start=1):
            with self._watch("solve"):
                networks = contenders(
                    {**measuring.tables(made), **score},
                    size,
                    settings.minimize,
                    settings.constraints,
                    maximize=settings.maximize,
                    rules=settings.rules,
                    measured=made,
                    seed=settings.seed + number,
                    solver=settings.solver,
                )
            if not networks:
                break  # The decision is not open any more.
            made = {**made, **measuring.measure_design(networks, settings.networks)}
        return made

    def score(self, also: Sequence[Assignment] = ()) -> MetricTable:
        """Scores the design by the proxy; returns and saves its table: the mean over initializations and batches.

        Args:
          also: More networks to score and to fit the table to.
        """
        table = self.scoring.table(also)
        self.folder.save_table(table)
        return table

    def solve(self, tables: Tables, constraints: Sequence[Constraint] | None = None) -> list[Proposal]:
        """Returns the best assignments that the tables promise, under the settings' constraints or others."""
        settings = self.settings
        with self._watch("solve"):
            result = solve_ilp(
                tables,
                minimize=settings.minimize,
                maximize=settings.maximize,
                constraints=settings.constraints if constraints is None else constraints,
                rules=settings.rules,
                confidence=settings.confidence,
                top_k=settings.top_k,
                min_distance=settings.min_distance,
                solver=settings.solver,
                time_limit=PROOF_SECONDS if settings.kind.noisy else None,
            )
        return result.proposals

    def refine(self, tables: Tables) -> tuple[list[Proposal], Tables]:
        """Returns proposals that keep the bounds on the score as computed, and the tables, the score's fitted again.

        Single swaps, the paper's protocol, are taken as they are.
        """
        if self.settings.design == "single_swaps":
            return self.solve(tables), tables
        return self._refinement.run(tables)

    def loop(self, tables: Tables) -> tuple[list[Proposal], Tables, list[Round]]:
        """Measures proposals and fits the tables again until both agree; returns both, and what each round found.

        On an exact device a local search on the device itself follows.

        Args:
          tables: What `bench` and `score` returned.
        """
        proposals, tables, rounds = self._loop.run(tables, self._design_made)
        self._saved(tables)
        if self.device.exact and self.settings.evaluations:
            proposals = polished(proposals, self.measuring, self.scoring, self.settings, self._watch)
        return proposals, tables, rounds

    def verify(self, proposals: Sequence[Proposal], tables: Tables, rounds: Sequence[Round] = ()) -> SearchResult:
        """Measures and scores every proposal, puts the best first, and writes the results.

        The best is measured once more, and that is the latency it is reported with: the first measurement made it the
        best, partly by luck.

        Args:
          proposals: What was proposed.
          tables: Metric -> table.
          rounds: What the rounds of a closed loop found, for the report.
        """
        reference, main = self.reference, next(iter(self.device.metrics))
        uniform = [Proposal(f"all {name}", Assignment.uniform(reference, name)) for name in self.measuring.activations]
        rows = [*proposals, *(row for row in uniform if row.assignment != reference)]
        with self._watch("verify"), self.folder.journal:
            baseline, rows, times = self.evaluate(rows, tables)
            ranked = rank(rows[: len(proposals)], baseline, self.settings)
            best, *others = (dataclasses.replace(row, name=f"ilp-{n}") for n, row in enumerate(ranked, start=1))
            if main in best.measured and not self.device.exact and self.device.available is None:
                runs = len(times[best.assignment][0].samples)
                again = readings.of_metric(self.measuring.measure([best.assignment], runs, "confirm"), main)
                best = with_measured(best, main, readings.estimate(again[0], baseline.measured[main]))
        result = SearchResult(
            baseline,
            [best, *others],
            rows[len(proposals) :],
            tables,
            self.settings,
            self.seconds,
            self.device.name,
            self._units(baseline, tables),
            notes([baseline, best, *others, *rows[len(proposals) :]], times),
            list(rounds),
        )
        with self._watch("write"):
            write_results(result, self.model, self.measuring, self.folder)
        return result

    def evaluate(self, rows: Sequence[Proposal], tables: Tables) -> tuple[Proposal, list[Proposal], Measured]:
        """Measures and scores networks, and the reference beside them.

        Args:
          rows: The networks, with predictions or without.
          tables: Metric -> table, which predict for those without.

        Returns:
          The reference and the networks with what was measured, and the device's measurements.
        """
        reference, exact, main = self.reference, self.device.exact, next(iter(self.device.metrics))
        networks, available = [row.assignment for row in rows], self.device.available
        runs = self.measuring.affordable(len(networks), "proposal", tables[main].reference_value.value)
        measurable = [one for one in (reference, *networks) if available is None or one in available]
        times = self.measuring.measure(measurable, runs, "verify")
        self.measuring.report_failures(times)
        made = self.scoring.scores(networks, "verify")
        noise = tables[self.settings.kind.name].context.get("noise", math.nan)
        own, measured = measured_metrics(times, made, reference, exact, noise)
        # Where no proposal can be measured, the reference's values are those that were measured with the design.
        earlier = {metric: tables[metric].reference_value for metric in self.device.metrics}
        own = {**earlier, **measured.get(reference, {}), **own}
        found = [
            dataclasses.replace(row, measured=measured[row.assignment], predicted=predicted_metrics(row, tables, own))
            for row in rows
        ]
        return Proposal("reference", reference, measured=own), found, times

    def _identity(self, name: str, fingerprint: str) -> dict[str, object]:
        """Returns what the measurements depend on; what a person would name first comes first."""
        return {
            "model": name or self.model.name,
            "input_shape": list(self.model.inputs[0].shape[1:]),
            "seed": self.settings.seed,
            "device": self.device.name,
            **self.device.conditions,
            **{f"device {key}": value for key, value in board_of(self.device.describe()).items()},
            "precision": self.device.precision,
            "weights and structure": fingerprint,
        }

    def _check_device(self, fingerprint: str) -> None:
        """Raises `InputError` when the device has measured another model, or cannot measure what is asked for."""
        if self.device.model not in (None, fingerprint):
            raise InputError(
                f"Expected measurements of this model, {fingerprint}. Received: {self.device.name} with those of "
                f"another, {self.device.model}. The model has to be the same, with the same weights (--seed)."
            )
        if self.settings.loop and self.device.available is not None:
            raise InputError(
                f"Expected a device that can measure proposals, for --loop. Received: {self.device.name}, which holds "
                "what was measured before. Search without --loop, or on the device itself."
            )

    def _saved(self, tables: Tables) -> Tables:
        for table in tables.values():
            self.folder.save_table(table)
        return tables

    def _units(self, baseline: Proposal, tables: Tables) -> dict[str, str]:
        """Returns the units of all metrics that have tables or were measured."""
        proxy = self.settings.kind.name
        more = {**MORE_UNITS, TENSOR_MEMORY: "KiB"}
        measured = {metric: unit for metric, unit in more.items() if metric in baseline.measured}
        return {**self.device.metrics, proxy: tables[proxy].unit, **measured}
