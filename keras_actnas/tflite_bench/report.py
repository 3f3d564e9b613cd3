"""A latency measurement as text."""

from __future__ import annotations

from keras_actnas.core.stats import LatencySummary, summarize
from keras_actnas.tflite_bench.measure import LatencyMeasurement

UNSTABLE_SPREAD = 0.05
"""Spread of single runs, as a share of the median, from which on the report warns."""


def describe_measurement(measurement: LatencyMeasurement, name: str, reference: str | None = None) -> str:
    """Returns the report of a measurement: median, percentile, spread, and the ratio to the reference."""
    conditions = measurement.conditions
    lines = [
        f"{conditions['runtime']} {conditions['runtime_version']}, {conditions['num_threads']} thread(s), "
        f"delegate {conditions['delegate']}, {conditions['warmup']} warm-up and {conditions['runs']} timed runs",
        _line(name, measurement.summary),
    ]
    summaries = [measurement.summary]
    if measurement.reference_samples:
        summaries.append(summarize(measurement.reference_samples))
        ratio = measurement.ratio
        low, high = ratio.ratio - 1.96 * ratio.standard_error, ratio.ratio + 1.96 * ratio.standard_error
        lines.append(_line(str(reference), summaries[1]))
        lines.append(f"ratio {ratio.ratio:.4f}, 95 % interval {low:.4f} to {high:.4f}")
    if any(summary.spread > UNSTABLE_SPREAD * summary.median for summary in summaries):
        lines.append(
            f"warning: single runs spread by more than {100 * UNSTABLE_SPREAD:.0f} % of the median; "
            "close other programs, or take more runs"
        )
    return "\n".join(lines)


def _line(name: str, summary: LatencySummary) -> str:
    return (
        f"{name}: median {summary.median:.3f} ms +- {summary.standard_error:.3f}, p95 {summary.p95:.3f}, "
        f"min {summary.minimum:.3f}, mean {summary.mean:.3f}, spread {summary.spread:.3f}"
    )
