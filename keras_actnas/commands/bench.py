"""keras-actnas bench: measure a .tflite, or the latency table of a run.

keras-actnas bench model.tflite [--reference=other.tflite]   measures one file, or two that take turns
keras-actnas bench --model=yolov5n --image_size=320          measures the latency table into the run folder
"""

from __future__ import annotations

from typing import Any

from absl import flags

from keras_actnas.commands.runs import define_run_flags, make_search
from keras_actnas.core.errors import InputError
from keras_actnas.tflite_bench import DEFAULT_RUNS, describe_measurement, measure


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    define_run_flags(values)
    flags.DEFINE_string("reference", None, "Another .tflite to measure in turns with the first.", flag_values=values)


def run(values: Any, positional: list[str]) -> None:
    """Runs the command."""
    if len(positional) > 1:
        raise InputError(f"Expected one .tflite, and the other as --reference. Received: {len(positional)} files.")
    if positional:
        result = measure(
            positional[0],
            values.reference,
            runs=values.runs or DEFAULT_RUNS,
            num_threads=values.num_threads,
            delegate=values.delegate,
        )
        print(describe_measurement(result, positional[0], values.reference))
        return
    search = make_search(values)
    with search.device:
        tables = search.bench()
    for metric, table in tables.items():
        print(f"{metric} of the reference: {table.reference_value.value:.3f} {table.unit}")
    how = "estimates of" if search.device.estimated else "measured on"
    print(f"{how} {search.device.name}; tables in {search.folder.path / 'tables'}")
