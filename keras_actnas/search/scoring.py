"""The proxy's side of a search: scores of candidates without training make the table of accuracy."""

from __future__ import annotations

import dataclasses
import functools
import weakref
from collections.abc import Sequence

import keras

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.journal import Measurement
from keras_actnas.core.table import Estimate, MetricTable
from keras_actnas.search import scores
from keras_actnas.search.confidence import Confidence
from keras_actnas.search.measuring import Measuring
from keras_actnas.search.preparation import make_processes, make_proxies
from keras_actnas.search.priors import CurvePrior, LossPrior
from keras_actnas.search.progress import Progress
from keras_actnas.search.proxies.registry import Proxy
from keras_actnas.search.proxies.tasks import Compute
from keras_actnas.search.run_folder import RunFolder
from keras_actnas.search.scores import Start
from keras_actnas.search.settings import SearchSettings
from keras_actnas.search.stopwatch import Stopwatch
from keras_actnas.search.tables import average_tables, fit_table


class Scoring:
    """Scores candidates of one model by the settings' proxy, into the journal of one run.

    Args:
      model: The network that is scored; its sites are those of the one that is measured.
      measuring: The device's side, which knows the candidates.
      folder: The run folder.
      settings: What to search for and how.
      fingerprint: Fingerprint of the model that the run is about.
      watch: Times what is done.
      progress: Wraps what is worked through.
    """

    def __init__(
        self,
        model: keras.Model,
        measuring: Measuring,
        folder: RunFolder,
        settings: SearchSettings,
        fingerprint: str,
        *,
        watch: Stopwatch,
        progress: Progress | None,
    ) -> None:
        self._model = model
        self._measuring = measuring
        self._folder = folder
        self._settings = settings
        self._fingerprint = fingerprint
        self._watch = watch
        self._progress = progress
        self._table: MetricTable | None = None

    @functools.cached_property
    def _proxies(self) -> list[Proxy]:
        """The proxy on every batch of images."""
        return make_proxies(self._model, self._settings, self._folder.path, self._progress)

    @functools.cached_property
    def _compute(self) -> Compute | None:
        """What computes the scores elsewhere; None for here."""
        if not (self._settings.score_processes or self._settings.scheduler):
            return None
        processes = make_processes(self._model, self._settings, self._proxies)
        weakref.finalize(self, processes.close)
        return processes

    def check(self, reference: Assignment) -> None:
        """Scores the reference once, so that what is wrong with model or images comes up before minutes of work."""
        with self._watch("score"):
            self._scores([], "design", reference, self._settings.score_starts()[:1])

    def scores(self, assignments: Sequence[Assignment], purpose: str = "design") -> list[Measurement]:
        """Returns the scores of networks with every seed and batch."""
        return self._scores(assignments, purpose, self._measuring.reference, self._settings.score_starts())

    def table(self, also: Sequence[Assignment] = ()) -> MetricTable:
        """Returns the table of the score: the mean over initializations and batches.

        Args:
          also: Networks to score and to fit the table to, besides those of the design.
        """
        settings, reference, count = self._settings, self._measuring.reference, self._settings.scored_networks
        design = self._measuring.design(settings.score_design, count)
        prior = LossPrior(self._measuring.sizes) if settings.kind.noisy else CurvePrior()
        with self._watch("score"):
            made = self.scores([*design, *also])
            tables = [
                fit_table(
                    observations,
                    reference,
                    self._measuring.activations,
                    own,
                    metric=made[0].metric,
                    unit=made[0].unit,
                    prior=None if self._measuring.is_complete(settings.score_design, count) else prior,
                    noisy_reference=settings.kind.noisy,
                    context={
                        "design": settings.score_design,
                        "networks": len({one.assignment for one in made}),
                        "seeds": [seed for seed, _ in settings.score_starts()],
                        "batches": settings.batches,
                    },
                )
                for own, observations in scores.score_observations(made)
            ]
            self._table = average_tables(tables)
            if settings.kind.noisy:
                # What does not add up is the noise of each training, which is not the network's own.
                noise = {**self._table.context, "noise": self._table.residual}
                self._table = dataclasses.replace(self._table, residual=0.0, context=noise)
            return self._table

    def estimates(self, assignments: Sequence[Assignment]) -> tuple[Estimate, dict[Assignment, Estimate]]:
        """Returns the score of the reference, and that of each network: as computed, or, of a noisy one, by the table.

        The table is the one that was fitted last.
        """
        if self._table is not None and self._settings.kind.noisy:
            return self._table.reference_value, {one: self._table.predict(one) for one in assignments}
        return scores.score_estimates(self.scores(assignments), self._measuring.reference)

    def missed(self, assignments: Sequence[Assignment]) -> list[float]:
        """Returns, for every constraint, by how much the scores miss it at most; 0 for other metrics."""
        own, estimates = self.estimates(assignments)
        sure = Confidence(self._settings.confidence if self._settings.kind.noisy else None)  # What is computed is sure.
        return [
            max(bound.shortfall(sure.bounding(bound, estimates[one]), own.value) for one in assignments)
            if bound.metric == self._settings.kind.name
            else 0.0
            for bound in self._settings.constraints
        ]

    def _scores(
        self, assignments: Sequence[Assignment], purpose: str, reference: Assignment, starts: Sequence[Start]
    ) -> list[Measurement]:
        with self._folder.journal as journal:
            return scores.score_assignments(
                self._proxies,
                assignments,
                starts,
                journal,
                reference=reference,
                model_hash=self._fingerprint,
                purpose=purpose,
                progress=self._progress,
                compute=self._compute,
            )
