"""The device's side of a search: the network is converted once, and what the device says of candidates makes tables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import keras

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Measurement
from keras_actnas.core.table import MetricTable
from keras_actnas.devices import Device, Network, Request, record
from keras_actnas.devices.plan import DEFAULT_RUNS, affordable_runs, measuring_seconds
from keras_actnas.devices.recording import unsupported
from keras_actnas.search import readings
from keras_actnas.search.designs import is_exhaustive, make_design
from keras_actnas.search.preparation import CALIBRATION_IMAGES, images_for
from keras_actnas.search.priors import CostPrior
from keras_actnas.search.progress import Progress
from keras_actnas.search.run_folder import RunFolder
from keras_actnas.search.settings import SearchSettings
from keras_actnas.search.stopwatch import Stopwatch
from keras_actnas.search.tables import fit_table
from keras_actnas.surgery import current_assignment

Say = Callable[[str], None]
Measured = dict[Assignment, list[Measurement]]
"""Assignment -> its measurements, one a metric, or a single one that says why there are none."""

ALONE = ("round", "verify", "confirm")
"""Purposes for which a network counts by itself, not as one of many that a table is fitted to."""


class Measuring:
    """Has a device measure candidates of one model, into the journal of one run.

    Args:
      model: The reference network.
      device: What it will run on.
      folder: The run folder.
      settings: What to search for and how.
      fingerprint: Fingerprint of the model.
      watch: Times what is done.
      progress: Wraps what is worked through.
      say: Receives a line of text for each thing worth knowing.
    """

    def __init__(
        self,
        model: keras.Model,
        device: Device,
        folder: RunFolder,
        settings: SearchSettings,
        fingerprint: str,
        *,
        watch: Stopwatch,
        progress: Progress | None,
        say: Say,
    ) -> None:
        self.device = device
        self._model = model
        self._folder = folder
        self._settings = settings
        self._fingerprint = fingerprint
        self._watch = watch
        self._progress = progress
        self._say = say

    @functools.cached_property
    def network(self) -> Network:
        """The converted network; it is converted only where the folder has none yet."""
        path = self._folder.file(f"reference{self.device.suffix}")
        with self._watch("convert"):
            if not path.exists():
                images = None
                if self.device.precision != "float32":
                    images = images_for(self._model, self._settings, CALIBRATION_IMAGES)
                self._say(str(self.device.convert(self._model, path, images)))
            return self.device.open_network(path)

    @functools.cached_property
    def reference(self) -> Assignment:
        """The model's own activations, at the sites that the converted network can exchange."""
        return current_assignment(self._model).at(self.network.reference)

    @functools.cached_property
    def activations(self) -> tuple[str, ...]:
        """The candidates, without those that the device cannot run, which is not the same as slow."""
        wanted, network = self._settings.activations, self.network
        with self._watch("bench"), self._folder.journal as journal:
            refused = unsupported(self.device, network, wanted, journal, self.reference, self._fingerprint)
        for name, reason in refused.items():
            self._say(f"{self.device.name} cannot run {name}, which is no candidate then: {reason}")
        usable = tuple(name for name in wanted if name not in refused)
        if not usable:
            raise InputError(
                f"Expected activations that {self.device.name} can run. Received: {', '.join(wanted)}; "
                f"{next(iter(refused.values()))}"
            )
        return usable

    @property
    def sizes(self) -> dict[str, float]:
        """Site -> number of elements."""
        return {site.name: float(site.elements) for site in self.network.sites}

    def design(self, name: str | None = None, count: int | None = None) -> list[Assignment]:
        """Returns the networks to measure, or those of a design by name.

        Where a device has measured already, they are those that it has measured.

        Args:
          name: The design; None for the device's.
          count: How many networks, unless they are single swaps; None for as many as are measured.
        """
        settings, reference = self._settings, self.reference
        if name is None:
            if self.device.available is not None:
                measured = self.device.available.items()
                return [one for one, purpose in measured if purpose == "design" and one != reference]
            name = settings.device_design(self.device.exact)
        settings.check_networks({*settings.activations, *reference.values()})
        return make_design(name, reference, self.activations, count or settings.networks, settings.seed)

    def is_complete(self, design: str, count: int | None = None) -> bool:
        """Whether a design tells every effect by itself, so that nothing has to be assumed of them."""
        every = is_exhaustive(self.reference, self.activations, count or self._settings.networks)
        return every or design == "single_swaps"

    def measure_design(self, networks: Sequence[Assignment], count: int | None = None) -> Measured:
        """Measures networks that tables are fitted to.

        Args:
          networks: The networks.
          count: How many share the time budget, where these are not all; None where they are.
        """
        with self._watch("bench"):
            runs = self.affordable(count or len(networks), "network")
            # Of a budget in minutes, runs that a shorter one afforded count as well.
            made = self.measure(networks, runs, "design", min(runs, self._settings.runs or 1))
        self.report_failures(made)
        return made

    def tables(self, made: Measured) -> dict[str, MetricTable]:
        """Returns the device's tables, such as that of the latency, fitted to what was measured."""
        prior = None if self.is_complete(self._settings.device_design(self.device.exact)) else CostPrior(self.sizes)
        return {metric: self._table(made, metric, prior) for metric in self.device.metrics}

    def _table(self, made: Measured, metric: str, prior: CostPrior | None) -> MetricTable:
        exact, lines = self.device.exact, readings.of_metric(made, metric)
        reference = readings.reference_estimate(lines, exact)
        return fit_table(
            readings.observations(lines, reference, exact),
            self.reference,
            self.activations,
            reference,
            metric=metric,
            unit=self.device.metrics[metric],
            prior=prior,
            context={
                "device": self.device.name,
                "estimated": self.device.estimated,
                "design": self._settings.device_design(exact),
                "networks": len(made),
                "conditions": dict(self.device.conditions),
                "described": dict(lines[0].device),
            },
        )

    def measure(
        self, assignments: Sequence[Assignment], runs: int, purpose: str, least_runs: int | None = None
    ) -> Measured:
        """Measures networks, where the journal does not have them.

        Args:
          assignments: The networks.
          runs: Timed runs of each.
          purpose: Why: see `Request`.
          least_runs: What the journal has counts if it has so many runs; None for `runs`.
        """
        request = Request(
            tuple(assignments),
            self.reference,
            runs,
            purpose,
            self._fingerprint,
            inspect=purpose == "verify",
            reopen=purpose in ALONE,
            least_runs=runs if least_runs is None else least_runs,
        )
        with self._folder.journal as journal:
            return record(self.device, self.network, request, journal, self._progress)

    def affordable(self, count: int, what: str, reference_ms: float | None = None) -> int:
        """Returns how many timed runs each of `count` networks gets: as many as were asked for, or as the time allows.

        Args:
          count: How many networks share the time.
          what: What they are called in the line that says so when they get few.
          reference_ms: Latency of the reference, where it is known already.
        """
        settings = self._settings
        if self.device.exact or self.device.available is not None:
            return 1
        if settings.runs:
            return settings.runs
        reference_ms = reference_ms or self.device.probe(self.network, self.reference)
        runs = affordable_runs(reference_ms, count, 60 * settings.minutes)
        if runs < DEFAULT_RUNS:
            minutes = measuring_seconds(reference_ms, count, runs) / 60
            self._say(
                f"Each {what} gets {runs} timed runs, not {DEFAULT_RUNS}: {count} of them take about "
                f"{minutes:.1f} minutes then (--minutes={settings.minutes:g}, --runs)."
            )
        return runs

    def report_failures(self, made: Mapping[Assignment, Sequence[Measurement]]) -> None:
        """Says how many networks the device cannot run; raises `InputError` when it can run none."""
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
