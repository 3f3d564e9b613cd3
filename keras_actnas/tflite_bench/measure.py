"""Times a .tflite, interleaved with a reference, and keeps every sample."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any, Union

from keras_actnas.core.errors import InputError
from keras_actnas.core.stats import LatencySummary, PairedRatio, paired_ratio, summarize
from keras_actnas.tflite_bench.runner import Runner, TFLiteRunner
from keras_actnas.tflite_bench.runtime import Runtime

DEFAULT_RUNS = 50
DEFAULT_WARMUP = 5

SESSIONS = 6
"""How often two files that are compared are opened, if there are runs enough for two in each session. Even."""

_WARMUP_AGAIN = 2
"""Runs before the timed ones where a network is opened again: caches and clocks are warm, its own memory is not."""


Source = Union[str, "os.PathLike[str]", bytes, Callable[[], Runner], Runner]
"""A network: a .tflite, what opens a runner of it, or a runner that is open already."""


@dataclasses.dataclass(frozen=True)
class Opening:
    """How one interpreter started.

    Attributes:
      init_ms: Opening it and allocating its tensors; None if that is not known.
      first_ms: Its very first run; None likewise.
      warmup_ms: The runs before the timed ones, in this order; the very first run is among them unless the interpreter
        had been used before.
    """

    init_ms: float | None
    first_ms: float | None
    warmup_ms: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class LatencyMeasurement:
    """Raw times of a .tflite and of the reference it alternated with.

    Attributes:
      samples: Times of the candidate in milliseconds, in the order of measuring.
      reference_samples: Times of the reference in milliseconds; sample i was taken right beside candidate sample i.
        Empty when there was no reference.
      conditions: Threads, delegate, runtime and version, runs, warm-up runs, sessions, whether the candidate was first,
        and partitions of the delegate (also the reference's) if the runtime tells.
      openings: How the candidate started, in each session; the samples are shared out among the sessions as evenly as
        they can be, the first ones getting more.
      reference_openings: How the reference started, likewise.
    """

    samples: tuple[float, ...]
    reference_samples: tuple[float, ...]
    conditions: dict[str, Any]
    openings: tuple[Opening, ...] = ()
    reference_openings: tuple[Opening, ...] = ()

    @property
    def summary(self) -> LatencySummary:
        """Median, 95th percentile, spread and standard error of the candidate's times."""
        return summarize(self.samples)

    @property
    def ratio(self) -> PairedRatio:
        """Candidate over reference, with its standard error and 95 % interval."""
        if not self.reference_samples:
            raise InputError("Expected a measurement that was interleaved with a reference. Received: one without.")
        return paired_ratio(self.samples, self.reference_samples, max(len(self.openings), 1))


def measure(
    model: Source,
    reference: Source | None = None,
    *,
    runs: int = DEFAULT_RUNS,
    warmup: int = DEFAULT_WARMUP,
    num_threads: int = 1,
    delegate: str = "xnnpack",
    runtime: Runtime | None = None,
    sessions: int | None = None,
    candidate_first: bool = False,
) -> LatencyMeasurement:
    """Measures the latency of a .tflite on this machine, batch 1 (ActNAS section 3.2: 50 runs).

    With a `reference`, the two take turns: whatever slows the machine down for a while then slows both, and their ratio
    keeps its meaning. Every run follows one of the other network, which leaves the caches to both in the same state.

    Where an interpreter's memory happens to lie makes a difference, too: two of the same file differ by 0.1 to 0.4 %
    for as long as they live, which no number of runs averages out. So files that are compared are opened anew for each
    of `SESSIONS` sessions, after both were freed, and in either order by turns.

    Args:
      model: Path or bytes of a .tflite, a function that opens a runner, or a runner that is already open.
      reference: The network to compare with, likewise. If one of the two is open already there is a single session, and
        the ratio is that of these two interpreters.
      runs: Timed runs of each.
      warmup: Runs of each before the first timed one (at least one, which also checks that outputs are finite); where
        networks are opened again, no more than 2.
      num_threads: Threads, for models that are opened here.
      delegate: "xnnpack" or "none", likewise.
      runtime: Runtime to open models with.
      sessions: How often networks are opened that are compared and not open yet; None for `SESSIONS`, if there are runs
        enough.
      candidate_first: Whether the candidate is the first of the two to be opened and run in the first session. Who is
        second gains or loses 0.1 to 0.2 %: of many measurements in one session each, half should be of either kind.

    Raises:
      InputError: `runs` is below 1, or a model cannot be used.
    """
    if runs < 1:
        raise InputError(f"Expected at least 1 run. Received: runs={runs}.")
    options = (num_threads, delegate, runtime)
    candidate = _series(model, options)
    other = None if reference is None else _series(reference, options)
    series = [candidate] if other is None else [candidate, other] if candidate_first else [other, candidate]
    reopens = other is not None and not any(one.is_open for one in series)
    if sessions is None or not reopens:
        sessions = max(1, min(SESSIONS, runs // 4 * 2)) if reopens else 1  # An even number: either order equally often.
    for session in range(sessions):
        for one in series:
            one.close()
        for one in series:
            one.open()
        for one in series:
            one.warm_up(min(warmup, _WARMUP_AGAIN) if session else warmup)
        for _ in range(runs // sessions + (session < runs % sessions)):
            for one in series:
                one.run()
        series.reverse()
    conditions = {**candidate.conditions, "runs": runs, "warmup": max(warmup, 1), "sessions": sessions}
    if other is None:
        return LatencyMeasurement(tuple(candidate.samples), (), conditions, tuple(candidate.openings))
    conditions["candidate_first"] = candidate_first
    if "partitions" in other.conditions:
        conditions["reference_partitions"] = other.conditions["partitions"]
    return LatencyMeasurement(
        tuple(candidate.samples),
        tuple(other.samples),
        conditions,
        tuple(candidate.openings),
        tuple(other.openings),
    )


def _series(source: Any, options: tuple[int, str, Runtime | None]) -> _Series:
    if isinstance(source, (str, bytes, os.PathLike)):
        return _Series(lambda: TFLiteRunner(source, *options), is_open=False)
    if callable(source):
        return _Series(source, is_open=False)
    return _Series(lambda: source, is_open=True)


class _Series:
    """The runs of one network, through one interpreter or through several, one after the other."""

    def __init__(self, open_runner: Callable[[], Runner], is_open: bool) -> None:
        self.is_open = is_open
        self.samples: list[float] = []
        self.openings: list[Opening] = []
        self.conditions: dict[str, Any] = {}
        self._open_runner = open_runner
        self._runner: Any = None

    def close(self) -> None:
        """Frees the interpreter, unless it is the caller's. So the memory is there for the two that come next."""
        self._runner = None

    def open(self) -> None:
        """Opens the network, unless it was open from the start."""
        runner = self._open_runner()
        self.conditions = {
            "runtime": runner.runtime.name,
            "runtime_version": runner.runtime.version,
            "num_threads": runner.num_threads,
            "delegate": runner.delegate,
            **runner.execution,
        }
        self._runner = runner

    def warm_up(self, runs: int) -> None:
        """Runs the network before it is timed, and notes how it started."""
        warmup_ms = self._runner.warm_up(runs)
        self.openings.append(Opening(self._runner.init_ms, self._runner.first_ms, warmup_ms))

    def run(self) -> None:
        """Runs the network once more."""
        self.samples.append(self._runner.run())
