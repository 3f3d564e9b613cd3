"""What a search is asked for, and what it found."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection
from typing import Literal

from keras_actnas.core.activations import CANDIDATES, parse_activations
from keras_actnas.core.constraints import Constraint
from keras_actnas.core.errors import InputError, closest
from keras_actnas.core.proposal import Proposal
from keras_actnas.core.rounds import Round
from keras_actnas.core.table import MetricTable
from keras_actnas.search.choice_program import SOLVERS
from keras_actnas.search.confidence import Confidence
from keras_actnas.search.design_budget import check_budget
from keras_actnas.search.designs import DESIGNS
from keras_actnas.search.detection_recipe import is_detection_data
from keras_actnas.search.objective import Objective
from keras_actnas.search.proxies.registry import PROXIES, ProxyKind, proxy_kind
from keras_actnas.search.rules import Rules

BatchNormMode = Literal["inference", "batch"]
BATCH_NORM_MODES = ("inference", "batch")
ADAPTIVE = "adaptive"
"""The design whose later networks depend on what the earlier ones told."""
DEFAULT_CONSTRAINTS: tuple[Constraint, ...] = (PROXIES["nwot"].constraint,)
"""Stands for the default of whichever proxy is chosen."""


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """What to search for and how.

    Attributes:
      activations: Candidates for every site, besides the activation that the model has there.
      minimize: Metric to minimize, such as "latency" (ms), or a weighted sum: "latency+0.5*memory".
      maximize: What to maximize instead, such as "nwot"; `minimize` is None then.
      constraints: Bounds on the metrics of the whole network; by default that of the proxy, such as nwot >= reference.
      rules: Pinned and forbidden activations, sites that must agree, and the number of different activations.
      confidence: Probability with which each constraint must hold under the tables' errors, 0.5 for the predicted
        values alone; None for what the proxy needs.
      top_k: How many proposals.
      min_distance: In how many sites each proposal differs from every other, at least.
      solver: "highs" or "cbc".
      design: Which networks are measured and scored: "orthogonal" (a main-effect plan), "mixtures" (at random),
        "single_swaps" (the paper's), or "adaptive": orthogonal to begin with, then in `rounds` those among which the
        decision is open; or "shares": at random with random shares. None for orthogonal, but single swaps on a device
        that is exact, and for scores what the proxy needs.
      networks: How many networks are measured, and how many are scored, unless they are single swaps.
      trainings: How many are scored instead where each score costs a training; proposals come besides, in `rounds`.
      loop: Whether proposals are measured, and the tables fitted again, until predictions and measurements agree.
      rounds: How often proposals may be scored, the score table fitted again, and solved again; and how many rounds of
        the loop there may be.
      evaluations: Networks that a local search may try on the device itself after the loop, where the device is exact.
      runs: Timed runs of each candidate; None for as many as `minutes` allow, at most 50.
      minutes: Time budget for measuring the latency table, again for the loop, and again for verifying.
      proxy: What networks are scored by: one of `PROXIES`, or module:function; by default "fine_tuned" where there is
        `train_data`, else "nwot".
      images: Folder of photographs for the score; None for those that scikit-image ships.
      batch_size: Images in the batch that the score is computed on.
      pixel_max: Value of a white pixel as the model expects it: 1 or 255.
      seeds: How many initializations the score is averaged over; 0 scores the weights that the model has.
      batches: How many batches of images; each initialization is scored on one of them, in turns, and the model's own
        weights on each.
      score_processes: Processes that scores are computed in; 0 for this one.
      scheduler: Address of the Dask scheduler whose workers compute the scores instead; None for none.
      batch_norm: "inference" or "batch": see `NetworkProxy`.
      train_data: Labelled data for a proxy that trains: see `load_training_data`; or a detector's data.yaml.
      train_steps: Steps that a training takes.
      learning_rate: Highest learning rate of a training; None for that of a compiled model, or what is usual.
      loss: What it minimizes: see `loss_for`.
      seed: Seed of everything random: first seed of the initializations, crops, design.
    """

    activations: tuple[str, ...] = CANDIDATES
    minimize: str | None = "latency"
    maximize: str | None = None
    constraints: tuple[Constraint, ...] = DEFAULT_CONSTRAINTS
    rules: Rules = dataclasses.field(default_factory=Rules)
    confidence: float | None = None
    top_k: int = 5
    min_distance: int = 3
    solver: str = "highs"
    design: str | None = None
    networks: int = 100
    trainings: int = 64
    loop: bool = False
    rounds: int = 5
    evaluations: int = 200
    runs: int | None = None
    minutes: float = 1.0
    proxy: str = ""
    images: str | None = None
    batch_size: int = 16
    pixel_max: float = 1.0
    seeds: int = 3
    batches: int = 1
    score_processes: int = 0
    scheduler: str | None = None
    batch_norm: BatchNormMode = "inference"
    train_data: str | None = None
    train_steps: int = 1000
    learning_rate: float | None = None
    loss: str | None = None
    seed: int = 0

    @property
    def objective(self) -> str:
        """The metric, or the sum of metrics, that is minimized or maximized, as it was given."""
        return str(self.maximize or self.minimize)

    @property
    def goal(self) -> Objective:
        """The objective as weights of metrics."""
        return Objective.of(self.minimize, self.maximize)

    def device_design(self, exact: bool) -> str:
        """Returns which networks a device measures; an exact one has no noise that mixtures would average out."""
        return self.design or ("single_swaps" if exact else "orthogonal")

    @property
    def score_design(self) -> str:
        """Which networks are scored."""
        return self.kind.design if self.design in (None, ADAPTIVE) else self.design

    @property
    def scored_networks(self) -> int:
        """How many networks are scored, unless they are single swaps."""
        return self.trainings if self.kind.noisy else self.networks

    @property
    def kind(self) -> ProxyKind:
        """The proxy."""
        return proxy_kind(self.proxy)

    def score_starts(self) -> list[tuple[int | None, int]]:
        """Returns what scores are averaged over: (seed, number of the batch); None for the model's own weights.

        No two share a seed, so that what seeds and batches do to a score is told by how the starts differ.
        """
        if self.seeds == 0 or self.kind.trained:
            return [(None, batch) for batch in range(self.batches)]
        return [(self.seed + number, number % self.batches) for number in range(self.seeds)]

    def __post_init__(self) -> None:
        object.__setattr__(self, "activations", parse_activations(self.activations))
        object.__setattr__(self, "proxy", self.proxy or ("nwot" if self.train_data is None else "fine_tuned"))
        if self.constraints is DEFAULT_CONSTRAINTS:
            object.__setattr__(self, "constraints", (self.kind.constraint,))
        self._check_numbers()
        for name, known in (
            ("design", (None, *DESIGNS, ADAPTIVE)),
            ("solver", SOLVERS),
            ("batch_norm", BATCH_NORM_MODES),
        ):
            if getattr(self, name) not in known:
                names = ", ".join(filter(None, known))
                raise InputError(f"Expected {name} out of {names}. Received: {getattr(self, name)!r}.")
        if (self.minimize is None) == (self.maximize is None):
            raise InputError(
                f"Expected one metric to minimize or maximize. Received: minimize={self.minimize!r}, "
                f"maximize={self.maximize!r}."
            )
        if self.confidence is None:
            object.__setattr__(self, "confidence", self.kind.confidence)
        Confidence(self.confidence)  # Raises for one that is none.
        for upper, lower in itertools.permutations(self.constraints, 2):
            if _contradict(upper, lower, self.kind.name):
                raise InputError(
                    f"Expected constraints that do not contradict each other. Received: {upper} and {lower}."
                )

    def check_metrics(self, metrics: Collection[str]) -> None:
        """Raises `InputError` when the objective or a constraint is on none of the `metrics` that are measured."""
        for metric in (*self.goal.metrics, *(constraint.metric for constraint in self.constraints)):
            if metric not in metrics:
                raise InputError(
                    f"Expected a metric that a search measures. Received: {metric!r}.{closest(metric, metrics)}"
                )

    def check_networks(self, activations: Collection[str]) -> None:
        """Raises `InputError` when the networks are too few for all the `activations` that are mixed in them."""
        if self.design != "single_swaps":
            check_budget(self.networks, activations)
        if self.score_design != "single_swaps":
            check_budget(self.scored_networks, activations, "trainings" if self.kind.noisy else "networks")

    def _check_numbers(self) -> None:
        for name, least in (
            ("top_k", 1),
            ("min_distance", 1),
            ("batch_size", 2),
            ("seeds", 0),
            ("batches", 1),
            ("score_processes", 0),
            ("rounds", 1),
            ("evaluations", 0),
            ("train_steps", 1),
            ("trainings", 1),
        ):
            if getattr(self, name) < least:
                raise InputError(f"Expected {name} of at least {least}. Received: {getattr(self, name)}.")
        if 0 < self.seeds < self.batches and not self.kind.trained:
            raise InputError(
                f"Expected at least as many seeds as batches, so that each batch is scored on. Received: "
                f"seeds={self.seeds}, batches={self.batches}."
            )
        self._check_training()
        self.check_networks(self.activations)
        if self.scheduler and self.score_processes:
            raise InputError(
                f"Expected either --scheduler or --score_processes. Received: {self.scheduler} and "
                f"{self.score_processes}."
            )
        if self.runs is not None and self.runs < 1:
            raise InputError(f"Expected runs of at least 1. Received: {self.runs}.")
        if not self.minutes >= 0:
            raise InputError(f"Expected minutes of at least 0. Received: {self.minutes}.")

    def _check_training(self) -> None:
        if not self.kind.labelled:
            if self.train_data is not None:
                raise InputError(f"Expected no --train_data for {self.proxy}, which does not train. Leave --proxy out.")
            return
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise InputError(f"Expected learning_rate above 0. Received: {self.learning_rate}.")
        if self.train_data is None:
            raise InputError(
                f"Expected labelled data for {self.proxy}. Received: none; give --train_data=FOLDER, with a folder of "
                "images for each class, --train_data=module:function, or, for a detector of Ultralytics, a data.yaml."
            )
        if is_detection_data(self.train_data):
            self._check_detection()
        for name, other in (("batches", 1), ("score_processes", 0), ("scheduler", None)):
            if getattr(self, name) != other:
                raise InputError(
                    f"Expected no --{name} for {self.proxy}, which trains here, and asks with all of the "
                    f"held-out data. Received: {getattr(self, name)}."
                )

    def _check_detection(self) -> None:
        if not self.kind.detection:
            raise InputError(
                f"Expected --proxy=fine_tuned for a detection data set, {self.train_data}. Received: {self.proxy}, "
                "which is for images with classes."
            )
        if self.loss is not None:
            raise InputError(
                f"Expected no --loss for {self.train_data}: a detector is trained with Ultralytics' own. "
                f"Received: {self.loss}."
            )


def _contradict(upper: Constraint, lower: Constraint, score: str) -> bool:
    """Whether no network could keep both, whatever the reference's value turns out to be."""
    if (upper.metric, upper.sense, lower.sense) != (lower.metric, "<=", ">="):
        return False
    factor, offset = lower.factor - upper.factor, lower.offset - upper.offset
    positive = upper.metric != score  # A score can be negative, so shares of it tell nothing.
    return max(factor, offset) > 0 and min(factor, offset) >= 0 and (positive or factor == 0)


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
      reference: The reference network with its measured metrics.
      proposals: Verified proposals, the best first.
      baselines: Networks with one activation everywhere, measured like the proposals.
      tables: Metric -> table.
      settings: What was asked for.
      seconds: Stage -> time it took, s.
      device: What the device is called.
      units: Metric -> unit, of the metrics that have tables or were measured.
      notes: What there is to know about single networks on the device: "ilp-1: 3 delegate partitions".
      rounds: What each round of the closed loop found; none without a loop.
    """

    reference: Proposal
    proposals: list[Proposal]
    baselines: list[Proposal]
    tables: dict[str, MetricTable]
    settings: SearchSettings
    seconds: dict[str, float]
    device: str = "host"
    units: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    rounds: list[Round] = dataclasses.field(default_factory=list)

    @property
    def best(self) -> Proposal:
        """The best verified proposal."""
        return self.proposals[0]
