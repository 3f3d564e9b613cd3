"""keras-actnas bench: measure a .tflite, or the latency table of a run.

keras-actnas bench model.tflite [--reference=other.tflite]   measures one file, or two that take turns
keras-actnas bench --model=yolov5n --image_size=320          measures the latency table into the run folder
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from absl import flags

from keras_actnas.commands.runs import define_run_flags, make_search
from keras_actnas.core.errors import InputError
from keras_actnas.export import summarize_graph
from keras_actnas.tflite_bench import DEFAULT_RUNS, describe_measurement, measure, peak_memory
from keras_actnas.tflite_bench.report import describe_memory


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    define_run_flags(values)
    flags.DEFINE_string("reference", None, "Another .tflite to measure in turns with the first.", flag_values=values)


def run(values: Any, positional: list[str]) -> None:
    """Runs the command."""
    if len(positional) > 1:
        raise InputError(f"Expected one .tflite, and the other as --reference. Received: {len(positional)} files.")
    if positional:
        print(_bench_file(values, positional[0]))
        return
    search = make_search(values)
    with search.device:
        tables = search.bench()
    for metric, table in tables.items():
        print(f"{metric} of the reference: {table.reference_value.value:.3f} {table.unit}")
    how = "estimates of" if search.device.estimated else "measured on"
    print(f"{how} {search.device.name}; tables in {search.folder.path / 'tables'}")


def _bench_file(values: Any, path: str) -> str:
    """Returns the report of one .tflite, or of two that take turns."""
    foreign = [f"--{name}" for name in values if values[name].present and name not in _OF_FILES]
    if foreign:
        allowed = ", ".join(f"--{name}" for name in _OF_FILES)
        raise InputError(
            f"Expected {allowed} with a .tflite; other flags are of a run, for --model. Received: {', '.join(foreign)}."
        )
    how: dict[str, Any] = {"num_threads": values.num_threads or 1, "delegate": values.delegate or "xnnpack"}
    result = measure(path, values.reference, runs=values.runs or DEFAULT_RUNS, **how)
    return describe_measurement(
        result,
        path,
        values.reference,
        details=_details(path, how),
        reference_details=_details(values.reference, how) if values.reference else (),
    )


_OF_FILES = ("reference", "runs", "num_threads", "delegate")


def _details(path: str, how: Mapping[str, Any]) -> list[str]:
    """Returns what there is to say of a .tflite besides its times."""
    graph = summarize_graph(path)
    listed = ", ".join(f"{name} {count}" for name, count in graph["operators"].items())
    lines = [
        *describe_memory(peak_memory(path, **how)),
        f"tensors: at most {graph['peak_tensor_bytes'] / 2**20:.2f} MiB alive at once",
        f"{sum(graph['operators'].values())} operators: {listed}",
    ]
    if graph["float_islands"]:
        islands = ", ".join(f"{count} {name}" for name, count in graph["float_islands"].items())
        lines.append(f"float islands in the quantized graph: {islands}")
    return lines
