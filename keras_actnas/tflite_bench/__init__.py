"""Measures .tflite files on this machine; needs NumPy and a TFLite runtime, nothing else.

`python -m keras_actnas.tflite_bench model.tflite` measures one file.
"""

from keras_actnas.core.stats import LatencySummary, PairedRatio, paired_ratio, summarize
from keras_actnas.tflite_bench.device import describe_device
from keras_actnas.tflite_bench.measure import (
    DEFAULT_RUNS,
    DEFAULT_WARMUP,
    LatencyMeasurement,
    Opening,
    measure,
)
from keras_actnas.tflite_bench.memory import peak_memory
from keras_actnas.tflite_bench.report import describe_measurement
from keras_actnas.tflite_bench.runner import TFLiteRunner
from keras_actnas.tflite_bench.runtime import DELEGATES, RUNTIMES, Runtime, load_runtime
from keras_actnas.tflite_bench.stability import stability_warnings

__all__ = [
    "DEFAULT_RUNS",
    "DEFAULT_WARMUP",
    "DELEGATES",
    "RUNTIMES",
    "LatencyMeasurement",
    "LatencySummary",
    "Opening",
    "PairedRatio",
    "Runtime",
    "TFLiteRunner",
    "describe_device",
    "describe_measurement",
    "load_runtime",
    "measure",
    "paired_ratio",
    "peak_memory",
    "stability_warnings",
    "summarize",
]
