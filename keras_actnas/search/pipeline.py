"""The search from end to end: convert, measure, score, fit, solve, verify. Every step can be run by itself as well."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import weakref
from collections.abc import Callable, Iterator, Sequence

import keras

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.constraints import Constraint
from keras_actnas.core.errors import InputError
from keras_actnas.core.files import write_atomically
from keras_actnas.core.journal import Measurement
from keras_actnas.core.proposal import Proposal, save_proposals
from keras_actnas.core.table import MetricTable
from keras_actnas.devices import Device, HostDevice, Network, Request, record
from keras_actnas.devices.plan import DEFAULT_RUNS, affordable_runs, measuring_seconds
from keras_actnas.devices.recording import MORE_UNITS, board_of, unsupported
from keras_actnas.export.activation_ops import check_editable
from keras_actnas.export.keras_files import save_keras
from keras_actnas.search import readings, scores
from keras_actnas.search.designs import is_exhaustive, make_design
from keras_actnas.search.fingerprint import model_fingerprint
from keras_actnas.search.grid import check_rules
from keras_actnas.search.ilp import InfeasibleError, solve_ilp
from keras_actnas.search.preparation import (
    CALIBRATION_IMAGES,
    check_finite,
    check_same_sites,
    images_for,
    make_processes,
    make_proxies,
)
from keras_actnas.search.priors import CostPrior, CurvePrior, Prior
from keras_actnas.search.progress import Progress
from keras_actnas.search.proxies.registry import Proxy
from keras_actnas.search.proxies.tasks import Compute
from keras_actnas.search.run_folder import RunFolder
from keras_actnas.search.settings import SearchResult, SearchSettings
from keras_actnas.search.tables import average_tables, fit_table
from keras_actnas.search.verification import (
    TENSOR_MEMORY,
    MarginSearch,
    choose,
    measured_metrics,
    notes,
    predicted_metrics,
    rank,
    with_measured,
)
from keras_actnas.surgery import current_assignment, replace_activations

Say = Callable[[str], None]


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
        self.score_model = score_model or model
        self.settings = settings or SearchSettings()
        self.device = device or HostDevice()
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._say = say
        self._proxies: list[Proxy] = []
        self._compute: Compute | None = None
        self._network: Network | None = None
        self._activations: tuple[str, ...] = ()
        self.settings.check_metrics([*self.device.metrics, self.settings.kind.name])
        check_same_sites(self.model, self.score_model)
        check_editable(self.settings.activations)
        check_rules(self.settings.rules, current_assignment(model), self.settings.activations)
        self._fingerprint = model_fingerprint(model)
        if self.device.model not in (None, self._fingerprint):
            raise InputError(
                f"Expected measurements of this model, {self._fingerprint}. Received: {self.device.name} with those of "
                f"another, {self.device.model}. The model has to be the same, with the same weights (--seed)."
            )
        self.folder = RunFolder(out, self._identity(name))

    def _identity(self, name: str) -> dict[str, object]:
        """Returns what the measurements depend on; what a person would name first comes first."""
        return {
            "model": name or self.model.name,
            "input_shape": list(self.model.inputs[0].shape[1:]),
            "seed": self.settings.seed,
            "device": self.device.name,
            **self.device.conditions,
            **{f"device {key}": value for key, value in board_of(self.device.describe()).items()},
            "precision": self.device.precision,
            "weights and structure": self._fingerprint,
        }

    def run(self) -> SearchResult:
        """Runs every stage; leaves tables, proposals and the best network in the folder."""
        with self.folder.journal:  # No other process may measure into it meanwhile.
            self.check()
            self.convert()
            tables = {**self.bench(), self.settings.kind.name: self.score()}
            return self.verify(*self.refine(tables))

    def check(self) -> None:
        """Scores the reference once, so that what is wrong with model or images comes up before minutes of work."""
        check_finite(self.model)
        with self._timed("score"):
            self._scores([], "design", current_assignment(self.model), self.settings.score_starts()[:1])

    def convert(self) -> Network:
        """Returns the converted network; converts only where the folder has none yet."""
        if self._network is None:
            path = self.folder.file(f"reference{self.device.suffix}")
            with self._timed("convert"):
                if not path.exists():
                    images = (
                        None
                        if self.device.precision == "float32"
                        else images_for(self.model, self.settings, CALIBRATION_IMAGES)
                    )
                    self._say(str(self.device.convert(self.model, path, images)))
                self._network = self.device.open_network(path)
        return self._network

    @property
    def reference(self) -> Assignment:
        """The model's own activations, at the sites that the converted network can exchange."""
        return current_assignment(self.model).at(self.convert().reference)

    def activations(self) -> tuple[str, ...]:
        """Returns the candidates, without those that the device cannot run, which is not the same as slow."""
        if not self._activations:
            wanted = self.settings.activations
            with self._timed("bench"), self.folder.journal as journal:
                network = self.convert()
                refused = unsupported(self.device, network, wanted, journal, self.reference, self._fingerprint)
            for name, reason in refused.items():
                self._say(f"{self.device.name} cannot run {name}, which is no candidate then: {reason}")
            self._activations = tuple(name for name in wanted if name not in refused)
            if not self._activations:
                raise InputError(
                    f"Expected activations that {self.device.name} can run. Received: {', '.join(wanted)}; "
                    f"{next(iter(refused.values()))}"
                )
        return self._activations

    def design(self, name: str | None = None) -> list[Assignment]:
        """Returns the networks to measure, or those of a design by name.

        Where a device has measured already, they are those that it has measured.
        """
        settings, reference = self.settings, self.reference
        if name is None:
            if self.device.available is not None:
                measured = self.device.available.items()
                return [one for one, purpose in measured if purpose == "design" and one != reference]
            name = settings.device_design(self.device.exact)
        settings.check_networks({*settings.activations, *reference.values()})
        return make_design(name, reference, self.activations(), settings.networks, settings.seed)

    def bench(self) -> dict[str, MetricTable]:
        """Has the device measure the design; returns and saves its tables, such as that of the latency.

        The tables that a device brings along are taken as they are.
        """
        network, design = self.convert(), self.design()
        tables = self.device.tables(self.reference)
        if tables is None:
            with self._timed("bench"):
                made = self._measure(design, self._affordable(design, "network"), "design", self.settings.runs or 1)
                self._report_failures(made)
                sizes = {site.name: float(site.elements) for site in network.sites}
                prior = None if self.device.exact else self._prior(CostPrior(sizes))
                tables = {metric: self._device_table(made, metric, prior) for metric in self.device.metrics}
        for table in tables.values():
            self.folder.save_table(table)
        return tables

    def _device_table(self, made: dict[Assignment, list[Measurement]], metric: str, prior: Prior | None) -> MetricTable:
        exact, lines = self.device.exact, readings.of_metric(made, metric)
        reference = readings.reference_estimate(lines, exact)
        return fit_table(
            readings.observations(lines, reference, exact),
            self.reference,
            self.activations(),
            reference,
            metric=metric,
            unit=self.device.metrics[metric],
            prior=prior,
            context={
                "device": self.device.name,
                "estimated": self.device.estimated,
                "design": self.settings.device_design(exact),
                "networks": len(made),
                "conditions": dict(self.device.conditions),
                "described": dict(lines[0].device),
            },
        )

    def score(self, also: Sequence[Assignment] = ()) -> MetricTable:
        """Scores the design by the proxy; returns and saves its table: the mean over initializations and batches.

        Args:
          also: More networks to score and to fit the table to.
        """
        settings, own, starts = self.settings, self.reference, self.settings.score_starts()
        design = self.design(settings.score_design)
        with self._timed("score"):
            made = self._scores([*design, *also], "design", own, starts)
            tables = [
                fit_table(
                    observations,
                    own,
                    self.activations(),
                    reference,
                    metric=made[0].metric,
                    unit=made[0].unit,
                    prior=self._prior(CurvePrior()),
                    context={
                        "design": settings.score_design,
                        "networks": len({one.assignment for one in made}),
                        "seeds": [seed for seed, _ in starts],
                        "batches": settings.batches,
                    },
                )
                for reference, observations in scores.score_observations(made)
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
                rules=settings.rules,
                confidence=settings.confidence,
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
            tables = {**tables, settings.kind.name: self.score(also=list(found))}
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
        reference = self.reference
        uniform = [Proposal(f"all {name}", Assignment.uniform(reference, name)) for name in self.activations()]
        rows = [*proposals, *(row for row in uniform if row.assignment != reference)]
        main = next(iter(self.device.metrics))
        with self._timed("verify"), self.folder.journal:
            baseline, rows, times = self.evaluate(rows, tables)
            ranked = rank(rows[: len(proposals)], baseline, self.settings)
            best, *others = (dataclasses.replace(row, name=f"ilp-{n}") for n, row in enumerate(ranked, start=1))
            if main in best.measured and not self.device.exact and self.device.available is None:
                runs = len(times[best.assignment][0].samples)
                again = readings.of_metric(self._measure([best.assignment], runs, "confirm", runs), main)
                best = with_measured(best, main, readings.estimate(again[0], baseline.measured[main]))
        proxy = self.settings.kind.name
        units = {**self.device.metrics, proxy: tables[proxy].unit}
        more = {**MORE_UNITS, TENSOR_MEMORY: "KiB"}
        units.update({metric: unit for metric, unit in more.items() if metric in baseline.measured})
        result = SearchResult(
            baseline,
            [best, *others],
            rows[len(proposals) :],
            tables,
            self.settings,
            self.seconds,
            self.device.name,
            units,
            notes([baseline, best, *others, *rows[len(proposals) :]], times),
        )
        with self._timed("write"):
            self._write(result)
        return result

    def evaluate(
        self, rows: Sequence[Proposal], tables: dict[str, MetricTable]
    ) -> tuple[Proposal, list[Proposal], dict[Assignment, list[Measurement]]]:
        """Measures and scores networks, and the reference beside them.

        Args:
          rows: The networks, with predictions or without.
          tables: Metric -> table, which predict for those without.

        Returns:
          The reference and the networks with what was measured, and the device's measurements.
        """
        reference, exact, main = self.reference, self.device.exact, next(iter(self.device.metrics))
        networks, available = [row.assignment for row in rows], self.device.available
        runs = self._affordable(networks, "proposal", tables[main].reference_value.value)
        measurable = [one for one in (reference, *networks) if available is None or one in available]
        times = self._measure(measurable, runs, "verify", runs)
        self._report_failures(times)
        made = self._scores(networks, "verify", reference, self.settings.score_starts())
        own, measured = measured_metrics(times, made, reference, exact)
        # Where no proposal can be measured, the reference's values are those that were measured with the design.
        earlier = {metric: tables[metric].reference_value for metric in self.device.metrics}
        own = {**earlier, **measured.get(reference, {}), **own}
        found = [
            dataclasses.replace(row, measured=measured[row.assignment], predicted=predicted_metrics(row, tables, own))
            for row in rows
        ]
        return Proposal("reference", reference, measured=own), found, times

    def proxies(self) -> list[Proxy]:
        """Returns the proxy on every batch of images; they are made once."""
        if not self._proxies:
            self._proxies = make_proxies(self.score_model, self.settings)
            if self.settings.score_processes:
                processes = make_processes(self.score_model, self.settings, self._proxies)
                weakref.finalize(self, processes.close)
                self._compute = processes
        return self._proxies

    def _missed(self, assignments: Sequence[Assignment]) -> list[float]:
        """Returns, for every constraint, by how much the computed scores miss it at most; 0 for other metrics."""
        reference = self.reference
        made = self._scores(assignments, "design", reference, self.settings.score_starts())
        own, estimates = scores.score_estimates(made, reference)
        return [
            max(bound.shortfall(estimates[assignment].value, own.value) for assignment in assignments)
            if bound.metric == self.settings.kind.name
            else 0.0
            for bound in self.settings.constraints
        ]

    def _prior(self, prior: Prior) -> Prior | None:
        """Returns the prior, or None where the design tells every effect by itself."""
        settings = self.settings
        complete = is_exhaustive(self.reference, self.activations(), settings.networks)
        return None if complete or settings.design == "single_swaps" else prior

    def _affordable(self, networks: Sequence[Assignment], what: str, reference_ms: float | None = None) -> int:
        """Returns how many timed runs each network gets: as many as were asked for, or as the time allows."""
        if self.device.exact or self.device.available is not None:
            return 1
        if self.settings.runs:
            return self.settings.runs
        reference_ms = reference_ms or self.device.probe(self.convert(), self.reference)
        runs = affordable_runs(reference_ms, len(networks), 60 * self.settings.minutes)
        if runs < DEFAULT_RUNS:
            minutes = measuring_seconds(reference_ms, len(networks), runs) / 60
            self._say(
                f"Each {what} gets {runs} timed runs, not {DEFAULT_RUNS}: {len(networks)} of them take about "
                f"{minutes:.1f} minutes then (--minutes={self.settings.minutes:g}, --runs)."
            )
        return runs

    def _measure(
        self, assignments: Sequence[Assignment], runs: int, purpose: str, least_runs: int
    ) -> dict[Assignment, list[Measurement]]:
        single = purpose in ("verify", "confirm")  # A network counts by itself, not as one of many.
        request = Request(
            tuple(assignments),
            self.reference,
            runs,
            purpose,
            self._fingerprint,
            inspect=purpose == "verify",
            reopen=single,
            least_runs=least_runs,
        )
        with self.folder.journal as journal:
            return record(self.device, self.convert(), request, journal, self._progress)

    def _report_failures(self, made: dict[Assignment, list[Measurement]]) -> None:
        failed = readings.failures(made)
        if failed:
            self._say(
                f"{len(failed)} of {len(made)} networks cannot be run on {self.device.name}, and count for nothing: "
                f"{next(iter(failed.values()))}"
            )
        if made and len(failed) == len(made):
            raise InputError(
                f"Expected networks that {self.device.name} can run. Received: none that it can; "
                f"{next(iter(failed.values()))}"
            )

    def _scores(
        self, assignments: Sequence[Assignment], purpose: str, reference: Assignment, starts: Sequence[scores.Start]
    ) -> list[Measurement]:
        with self.folder.journal as journal:
            return scores.score_assignments(
                self.proxies(),
                assignments,
                starts,
                journal,
                reference=reference,
                model_hash=self._fingerprint,
                purpose=purpose,
                progress=self._progress,
                compute=self._compute,
            )

    def _write(self, result: SearchResult) -> None:
        context = {
            "minimize": self.settings.minimize,
            "maximize": self.settings.maximize,
            "constraints": [str(constraint) for constraint in self.settings.constraints],
            "rules": dataclasses.asdict(self.settings.rules),
            "confidence": self.settings.confidence,
            "reference": result.reference.to_json(),
            "baselines": [row.to_json() for row in result.baselines],
            # What a report says besides.
            "device": result.device,
            "exact": self.device.exact,
            "estimated": list(self.device.metrics) if self.device.estimated else [],
            "units": result.units,
            "notes": result.notes,
            "seconds": {stage: round(seconds, 1) for stage, seconds in result.seconds.items()},
            "seeds": self.settings.seeds,
            "scores": {self.settings.kind.name: {"higher_is_better": self.settings.kind.higher_is_better}},
        }
        save_proposals(self.folder.file("proposals.json"), result.proposals, context)
        best = result.best.assignment
        best.save(self.folder.file("best.json"))
        save_keras(replace_activations(self.model, best), self.folder.file("best.keras"))
        write_atomically(self.folder.file(f"best{self.device.suffix}"), self.convert().edit(best))

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
