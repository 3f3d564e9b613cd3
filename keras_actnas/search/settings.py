"""What a search is asked for, and what it found."""

from __future__ import annotations

import dataclasses

from keras_actnas.core.activations import CANDIDATES, parse_activations
from keras_actnas.core.constraints import Constraint
from keras_actnas.core.errors import InputError
from keras_actnas.core.proposal import Proposal
from keras_actnas.core.table import MetricTable
from keras_actnas.search.nwot import BatchNormMode


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """What to search for and how.

    Attributes:
      activations: Candidates for every site.
      minimize: Metric to minimize, such as "latency" (ms).
      maximize: Metric to maximize instead, such as "nwot"; `minimize` is None then.
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

    @property
    def objective(self) -> str:
        """The metric that is minimized or maximized."""
        return str(self.maximize or self.minimize)

    def score_seeds(self) -> list[int | None]:
        """Returns the seeds of the initializations that scores are averaged over; None for the model's own weights."""
        return [self.seed + number for number in range(self.seeds)] or [None]

    def __post_init__(self) -> None:
        if (self.minimize is None) == (self.maximize is None):
            raise InputError(
                f"Expected one metric to minimize or maximize. Received: minimize={self.minimize!r}, "
                f"maximize={self.maximize!r}."
            )
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
