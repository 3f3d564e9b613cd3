"""`python -m keras_actnas.tflite_bench MODEL.tflite`: measures a .tflite with NumPy and a TFLite runtime alone."""

from __future__ import annotations

import argparse
import json
import sys

from keras_actnas.core.errors import InputError
from keras_actnas.tflite_bench import (
    DEFAULT_RUNS,
    DEFAULT_WARMUP,
    DELEGATES,
    RUNTIMES,
    describe_device,
    describe_measurement,
    load_runtime,
    measure,
    peak_memory,
)
from keras_actnas.tflite_bench.report import describe_memory, measurement_to_json


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        print(_report(options))
    except InputError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m keras_actnas.tflite_bench", description=__doc__)
    parser.add_argument("model", help=".tflite file")
    parser.add_argument("--reference", help="another .tflite, measured in turns with the first")
    parser.add_argument("--runs", type=int, default=DEFAULT_RUNS, help="timed runs of each (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=DEFAULT_WARMUP, help="runs before (default: %(default)s)")
    parser.add_argument("--num_threads", type=int, default=1, help="threads (default: %(default)s)")
    parser.add_argument("--delegate", choices=DELEGATES, default="xnnpack", help="default: %(default)s")
    parser.add_argument("--runtime", choices=RUNTIMES, help="default: the first of these that is installed")
    parser.add_argument(
        "--json", action="store_true", help="print raw samples, conditions, device and all else as JSON"
    )
    return parser


def _report(options: argparse.Namespace) -> str:
    how = {"num_threads": options.num_threads, "delegate": options.delegate}
    result = measure(
        options.model,
        options.reference,
        runs=options.runs,
        warmup=options.warmup,
        runtime=load_runtime(options.runtime),
        **how,
    )
    memory = peak_memory(options.model, runtime=options.runtime, **how)
    other = peak_memory(options.reference, runtime=options.runtime, **how) if options.reference else None
    if options.json:
        content = {"memory": memory, "reference_memory": other, "device": describe_device()}
        return json.dumps({**measurement_to_json(result), **content})
    return describe_measurement(
        result,
        options.model,
        options.reference,
        details=describe_memory(memory),
        reference_details=describe_memory(other),
    )


if __name__ == "__main__":
    sys.exit(main())
