"""Measures a network against itself, again and again: how often does the ratio's 95 % interval cover 1?

Each repetition opens both anew. Besides the interval that `keras_actnas.tflite_bench` gives, others are computed from
the same samples. Example: python benchmarks/ratio_coverage.py --model yolov5n --image_size 320

With --one_session both are opened once in a repetition, as for networks that a caller keeps open.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from keras_actnas.core.stats import PairedRatio, paired_ratio
from keras_actnas.export import to_editable
from keras_actnas.models import YOLO
from keras_actnas.tflite_bench import DEFAULT_RUNS, LatencyMeasurement, TFLiteRunner, describe_device, measure

SMALL = "small"

Interval = tuple[float, float]


def build(name: str, size: int) -> keras.Model:
    """Returns a YOLO, or a network of six small convolutions that takes a fraction of a millisecond."""
    if name != SMALL:
        return YOLO(name, input_shape=(size, size, 3))
    inputs = x = keras.Input((32, 32, 3))
    for _ in range(6):
        x = keras.layers.Conv2D(16, 3, padding="same", activation="silu")(x)
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x)))


def given(measurement: LatencyMeasurement) -> Interval:
    """The interval that the package gives."""
    return measurement.ratio.low, measurement.ratio.high


def of_errors(ratio: PairedRatio) -> Interval:
    """1.96 standard errors on either side."""
    return ratio.ratio - 1.96 * ratio.standard_error, ratio.ratio + 1.96 * ratio.standard_error


def normal(measurement: LatencyMeasurement) -> Interval:
    """1.96 standard errors of the median of all pairs, from their spread."""
    return of_errors(paired_ratio(measurement.samples, measurement.reference_samples))


def sign_test(measurement: LatencyMeasurement) -> Interval:
    """Two of the sorted ratios of all pairs."""
    ratio = paired_ratio(measurement.samples, measurement.reference_samples)
    return ratio.low, ratio.high


def normal_of_sessions(measurement: LatencyMeasurement) -> Interval:
    """1.96 standard errors of the mean of the sessions' medians, in place of Student's quantile."""
    return of_errors(measurement.ratio)


def batches(count: int) -> Callable[[LatencyMeasurement], Interval]:
    """Student's interval of the medians of `count` batches of successive pairs, whichever session they are of."""

    def interval(measurement: LatencyMeasurement) -> Interval:
        ratio = paired_ratio(measurement.samples, measurement.reference_samples, count)
        return ratio.low, ratio.high

    return interval


INTERVALS: dict[str, Callable[[LatencyMeasurement], Interval]] = {
    "as given": given,
    "normal, all pairs": normal,
    "sign test, all pairs": sign_test,
    "normal, sessions": normal_of_sessions,
    "5 batches": batches(5),
    "10 batches": batches(10),
}


def repeat(model: bytes, repetitions: int, runs: int, one_session: bool) -> list[LatencyMeasurement]:
    """Measures a network against itself, both opened anew each time."""
    made = []
    for _ in range(repetitions):
        pair = [TFLiteRunner(model), TFLiteRunner(model)] if one_session else [model, model]
        made.append(measure(*pair, runs=runs))
    return made


def report(made: Sequence[LatencyMeasurement]) -> None:
    """Prints how the ratios scatter, and the coverage and the width of each interval."""
    ratios = np.log([one.ratio.ratio for one in made])
    errors = [one.ratio.standard_error for one in made]
    error = math.sqrt(np.mean(np.square(errors)))
    print(
        f"ratios: {100 * ratios.mean():+.3f} % on average, scatter {100 * ratios.std(ddof=1):.3f} %, "
        f"standard error {100 * error:.3f} % (root mean square; median {100 * np.median(errors):.3f} %)"
    )
    print(f"{'interval':24}{'covers 1':>12}{'median width':>16}")
    for name, interval in INTERVALS.items():
        ends = np.array([interval(one) for one in made])
        covered = int(((ends[:, 0] <= 1) & (ends[:, 1] >= 1)).sum())
        print(f"{name:24}{covered:5} of {len(made)}{100 * np.median(ends[:, 1] - ends[:, 0]):14.3f} %")


def main() -> None:
    """Measures and prints; with --raw keeps every sample."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov5n", help=f"a YOLO, or '{SMALL}' (default: %(default)s)")
    parser.add_argument("--image_size", type=int, default=320, help="of a YOLO (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=DEFAULT_RUNS, help="timed runs of each (default: %(default)s)")
    parser.add_argument("--one_session", action="store_true", help="open both once in a repetition")
    parser.add_argument("--raw", help="file for the samples, as JSON lines")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        to_editable(build(options.model, options.image_size), path)
        made = repeat(path.read_bytes(), options.repetitions, options.runs, options.one_session)
    if options.raw:
        lines = [json.dumps([one.samples, one.reference_samples, one.conditions["sessions"]]) for one in made]
        Path(options.raw).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    device, median = describe_device(), np.median([one.summary.median for one in made])
    print(
        f"{options.model}, {median:.3f} ms, {options.runs} runs, {made[0].conditions['sessions']} session(s); "
        f"{device['cpu']}, {device['cores']} cores"
    )
    report(made)


if __name__ == "__main__":
    main()
