"""A latency measurement as text, and as values that JSON can hold."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_actnas.core.stats import PairedRatio, summarize
from keras_actnas.tflite_bench.measure import LatencyMeasurement, Opening
from keras_actnas.tflite_bench.stability import stability_warnings


def describe_measurement(
    measurement: LatencyMeasurement,
    name: str,
    reference: str | None = None,
    *,
    details: Sequence[str] = (),
    reference_details: Sequence[str] = (),
) -> str:
    """Returns the report of a measurement: how the networks started, their times, their ratio, and what is doubtful.

    Args:
      measurement: The measurement.
      name: What the network is called.
      reference: What the reference is called.
      details: More lines about the network, such as that of `describe_memory`.
      reference_details: More lines about the reference.
    """
    conditions = measurement.conditions
    runs = f"{conditions['warmup']} warm-up and {conditions['runs']} timed runs"
    if int(conditions.get("sessions", 1)) > 1:
        runs += f", networks opened {conditions['sessions']} times"
    lines = [
        f"{conditions['runtime']} {conditions['runtime_version']}, {conditions['num_threads']} thread(s), "
        f"delegate {conditions['delegate']}, {runs}",
        *_network(name, measurement.samples, measurement.openings, conditions.get("partitions"), conditions, details),
    ]
    if measurement.reference_samples:
        partitions = conditions.get("reference_partitions")
        other = (measurement.reference_samples, measurement.reference_openings, partitions)
        lines += _network(str(reference), *other, conditions, reference_details)
        lines.append(_ratio(measurement.ratio))
    return "\n".join(lines)


def describe_memory(memory: Mapping[str, int] | None) -> list[str]:
    """Returns the line about what `peak_memory` found; none where the system does not tell."""
    if memory is None:
        return []
    peak, before = memory["peak_kib"] / 1024, memory["baseline_kib"] / 1024
    return [f"memory: peak {peak:.1f} MiB, of which {before:.1f} MiB before the model"]


def measurement_to_json(measurement: LatencyMeasurement) -> dict[str, Any]:
    """Returns the raw values of a measurement and all that is derived from them; what is not known is None."""
    content = dataclasses.asdict(measurement)
    content["summary"] = dataclasses.asdict(measurement.summary)
    content["warnings"] = stability_warnings(measurement.samples)
    if measurement.reference_samples:
        content["reference_summary"] = dataclasses.asdict(summarize(measurement.reference_samples))
        content["reference_warnings"] = stability_warnings(measurement.reference_samples)
        content["ratio"] = dataclasses.asdict(measurement.ratio)
    for part in ("summary", "reference_summary", "ratio"):  # JSON has no NaN.
        known = {key: None if math.isnan(value) else value for key, value in content.get(part, {}).items()}
        content[part] = known or None
    return content


def _network(
    name: str,
    samples: Sequence[float],
    openings: Sequence[Opening],
    partitions: str | int | None,
    conditions: Mapping[str, str | int],
    details: Sequence[str],
) -> list[str]:
    summary = summarize(samples)
    lines = [
        f"{name}: median {summary.median:.3f} ms +- {summary.standard_error:.3f}",
        f"  inference: mean {summary.mean:.3f}, min {summary.minimum:.3f}, p95 {summary.p95:.3f}, max "
        f"{summary.maximum:.3f}, standard deviation {summary.deviation:.3f}, spread {summary.spread:.3f} ms; "
        f"{summary.runs} runs",
    ]
    if openings:
        lines.append(f"  {_start(openings)}")
    if partitions is not None and conditions["delegate"] != "none":
        lines.append(f"  delegate partitions: {partitions}{_PARTITIONS.get(int(partitions), ': the graph is split')}")
    lines += [f"  {line}" for line in details]
    return lines + [f"  warning: {text}" for text in stability_warnings(samples)]


_PARTITIONS = {0: ": the built-in kernels run all of the graph", 1: ""}


def _start(openings: Sequence[Opening]) -> str:
    """Returns the times before the timed runs; of a network that was opened several times, medians."""
    found = []
    for label, values in (
        ("init", [opening.init_ms for opening in openings if opening.init_ms is not None]),
        ("first inference", [opening.first_ms for opening in openings if opening.first_ms is not None]),
    ):
        if values:
            found.append(f"{label} {np.median(values):.3f}")
    warmup = [time for opening in openings for time in opening.warmup_ms]
    return ", ".join([*found, f"warm-up mean {np.mean(warmup):.3f} ms ({len(warmup)} runs)"])


def _ratio(ratio: PairedRatio) -> str:
    if math.isnan(ratio.low):
        return f"ratio {ratio.ratio:.4f}; too few runs for an interval"
    return f"ratio {ratio.ratio:.4f}, 95 % interval {ratio.low:.4f} to {ratio.high:.4f}"
