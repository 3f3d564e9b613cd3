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
)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m keras_actnas.tflite_bench", description=__doc__)
    parser.add_argument("model", help=".tflite file")
    parser.add_argument("--reference", help="another .tflite, measured in turns with the first")
    parser.add_argument("--runs", type=int, default=DEFAULT_RUNS, help="timed runs of each (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=DEFAULT_WARMUP, help="runs before (default: %(default)s)")
    parser.add_argument("--num_threads", type=int, default=1, help="threads (default: %(default)s)")
    parser.add_argument("--delegate", choices=DELEGATES, default="xnnpack", help="default: %(default)s")
    parser.add_argument("--runtime", choices=RUNTIMES, help="default: the first of these that is installed")
    parser.add_argument("--json", action="store_true", help="print raw samples, conditions and device as JSON")
    options = parser.parse_args(arguments)
    try:
        result = measure(
            options.model,
            options.reference,
            runs=options.runs,
            warmup=options.warmup,
            num_threads=options.num_threads,
            delegate=options.delegate,
            runtime=load_runtime(options.runtime),
        )
    except InputError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    if options.json:
        content = {
            "samples": result.samples,
            "reference_samples": result.reference_samples,
            "conditions": result.conditions,
            "device": describe_device(),
        }
        print(json.dumps(content))
    else:
        print(describe_measurement(result, options.model, options.reference))
    return 0


if __name__ == "__main__":
    sys.exit(main())
