"""Measures the latency of assignments on this machine, into a journal, and reads it back as observations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Journal, Measurement
from keras_actnas.core.stats import paired_ratio, summarize
from keras_actnas.core.table import Estimate
from keras_actnas.export.network import TFLiteNetwork
from keras_actnas.search.metrics import LATENCY, UNITS
from keras_actnas.search.progress import Progress
from keras_actnas.search.tables import Observation
from keras_actnas.tflite_bench import DEFAULT_RUNS, TFLiteRunner, describe_device, load_runtime, measure

METRIC = LATENCY
UNIT = UNITS[METRIC]
MIN_RUNS = 4
WARMUP = 2


@dataclasses.dataclass(frozen=True)
class HostBench:
    """How this machine is measured.

    Attributes:
      num_threads: Threads of the interpreter.
      delegate: "xnnpack" or "none".
      runs: Timed runs of each candidate, and of the reference beside it.
      least_runs: A measurement that the journal has already counts if it has at least so many.
    """

    num_threads: int = 1
    delegate: str = "xnnpack"
    runs: int = DEFAULT_RUNS
    least_runs: int = 1


def measuring_seconds(reference_latency: float, networks: int, runs: int) -> float:
    """Returns about how long it takes to measure networks: every run is one of a candidate and one of the reference.

    Args:
      reference_latency: Latency of the reference in ms.
      networks: How many candidates there are.
      runs: Timed runs of each.
    """
    return networks * 2 * (runs + WARMUP) * reference_latency / 1000


def affordable_runs(reference_latency: float, networks: int, seconds: float) -> int:
    """Returns how many timed runs each candidate gets so that all of them take about `seconds`.

    Args:
      reference_latency: Latency of the reference in ms; every timed run is one of a candidate and one of the reference.
      networks: How many candidates there are.
      seconds: The budget.

    Returns:
      Between `MIN_RUNS` and the paper's 50 (section 3.2).
    """
    runs = 1000 * seconds / max(networks * 2 * reference_latency, 1e-9) - WARMUP
    return int(np.clip(runs, MIN_RUNS, DEFAULT_RUNS))


def measure_assignments(
    network: TFLiteNetwork,
    assignments: Sequence[Assignment],
    journal: Journal,
    bench: HostBench,
    *,
    model_hash: str,
    purpose: str,
    progress: Progress | None = None,
) -> list[Measurement]:
    """Measures every assignment that the journal does not have yet, each interleaved with the reference.

    Args:
      network: The converted network that candidates are edited from.
      assignments: What to measure.
      journal: Where every measurement goes as soon as it is made.
      bench: Threads, delegate and runs.
      model_hash: Fingerprint of the model.
      purpose: "design", "verify" or "confirm"; measurements for another purpose do not count as made.
      progress: Wraps the assignments that are left, for a progress bar.

    Returns:
      The measurements of `assignments`, in their order; equal ones are measured and returned once.
    """
    done = {
        m.assignment.digest: m
        for m in journal.select(METRIC, purpose)
        if m.conditions["num_threads"] == bench.num_threads
        and m.conditions["delegate"] == bench.delegate
        and len(m.samples) >= bench.least_runs
    }
    assignments = list(dict.fromkeys(assignments))
    left = [assignment for assignment in assignments if assignment.digest not in done]
    if left:
        runtime = load_runtime()
        device = describe_device()
        reference = TFLiteRunner(network.edit(network.reference), bench.num_threads, bench.delegate, runtime)
        for assignment in progress(left, f"latency ({purpose})") if progress else left:
            candidate = TFLiteRunner(network.edit(assignment), bench.num_threads, bench.delegate, runtime)
            result = measure(candidate, reference, runs=bench.runs, warmup=WARMUP)
            made = Measurement(
                METRIC,
                UNIT,
                assignment,
                result.samples,
                result.reference_samples,
                purpose=purpose,
                model=model_hash,
                conditions=result.conditions,
                device=device,
            )
            journal.append(made)
            done[assignment.digest] = made
    return [done[assignment.digest] for assignment in assignments]


def latency_of_reference(measurements: Sequence[Measurement]) -> Estimate:
    """Returns the reference's latency in ms over all of `measurements`: the median of every sample of it."""
    samples = [sample for measurement in measurements for sample in measurement.reference_samples]
    if not samples:
        raise InputError("Expected latency measurements with a reference. Received: none.")
    summary = summarize(samples)
    return Estimate(summary.median, summary.standard_error)


def latency_estimate(measurement: Measurement, reference: Estimate) -> Estimate:
    """Returns a candidate's latency in ms, on the scale of `reference`; the error is that of the difference.

    The machine's speed drifts; the ratio to the reference measured beside the candidate does not.
    """
    ratio = paired_ratio(measurement.samples, measurement.reference_samples)
    return Estimate(reference.value * ratio.ratio, reference.value * ratio.standard_error)


def latency_observations(measurements: Sequence[Measurement], reference: Estimate) -> list[Observation]:
    """Returns what each measurement says of the difference to the reference, in ms."""
    observations = []
    for measurement in measurements:
        estimate = latency_estimate(measurement, reference)
        observations.append(
            Observation(measurement.assignment, estimate.value - reference.value, estimate.standard_error)
        )
    return observations
