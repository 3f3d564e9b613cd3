"""keras-actnas quantize: convert a model, or a proposal, to int8 and report the error at every activation.

  keras-actnas quantize --model=my.keras --assignment=runs/my/proposals.json#ilp-2 --images=photos --out=int8.tflite

The ranges are calibrated on --calibration_images crops of the photographs; the errors are measured on --error_images
other crops. For each activation the table has the median over its sites of the signal-to-quantization-noise ratio
(SQNR): the activation's own, and with the error of all that comes before. --report writes every site as CSV.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from absl import flags

from keras_actnas.commands.assignments import read_assignment
from keras_actnas.commands.calibration import calibration_images, define_calibration_flags, test_images
from keras_actnas.commands.models import check_new_file, define_model_flags, load_model
from keras_actnas.core.errors import InputError


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    define_model_flags(values)
    define_calibration_flags(values)
    flags.DEFINE_string(
        "assignment",
        None,
        "An activation, a JSON file of site: activation, or proposals.json#NAME; by default the model's own.",
        flag_values=values,
    )
    flags.DEFINE_string("out", None, "The int8 .tflite file to write.", flag_values=values)
    flags.DEFINE_string("report", None, "A .csv file for the error of every site.", flag_values=values)
    flags.DEFINE_integer("error_images", 8, "How many images measure the error.", lower_bound=1, flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Whether --out and --report may exist already.", flag_values=values)


def run(values: Any, positional: list[str]) -> None:
    """Runs the command."""
    if not values.out or not values.out.endswith(".tflite") or positional:
        raise InputError(f"Expected --out=FILE.tflite. Received: {positional[0] if positional else values.out!r}.")
    if values.report is not None and not values.report.endswith(".csv"):
        raise InputError(f"Expected --report=FILE.csv. Received: {values.report!r}.")
    check_new_file(values.out, values.overwrite)
    if values.report:
        check_new_file(values.report, values.overwrite, "--report")
    model = load_model(values)
    from keras_actnas.export import to_named_tflite
    from keras_actnas.integrations import quantization_report
    from keras_actnas.surgery import current_assignment, replace_activations

    reference = current_assignment(model)
    assignment = read_assignment(values.assignment, reference) if values.assignment else reference
    changed = replace_activations(model, assignment)
    images = calibration_images(values, model)
    print(to_named_tflite(changed, values.out, "int8", images))
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder) / "float32.tflite"
        to_named_tflite(changed, original)
        report = quantization_report(
            original, values.out, test_images(values, model, values.error_images), current_assignment(changed)
        )
    print(report)
    if values.report:
        report.save(values.report)
        print(f"every site: {values.report}")
    swaps = assignment.swaps(reference)
    if swaps:
        print(f"{len(swaps)} sites changed. Weights were carried over, not trained: fine-tune the model before use.")
