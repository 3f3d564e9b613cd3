"""keras-actnas apply: write a model with the activations of an assignment as .keras or .tflite.

keras-actnas apply --model=my.keras --assignment=runs/my/proposals.json#ilp-2 --out=faster.keras
keras-actnas apply --model=yolov5n.tflite --assignment=relu --out=yolov5n-relu.tflite
keras-actnas apply --model=my.keras --assignment=relu --precision=int8 --images=photos --out=int8.tflite

`keras-actnas quantize` does the last and reports the error of int8 at every site.
"""

from __future__ import annotations

from typing import Any

from absl import flags

from keras_actnas.commands.assignments import read_assignment
from keras_actnas.commands.calibration import calibration_images, define_calibration_flags
from keras_actnas.commands.models import check_new_file, define_model_flags, load_model
from keras_actnas.core.errors import InputError
from keras_actnas.export import TFLiteNetwork


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    define_model_flags(values)
    define_calibration_flags(values)
    flags.DEFINE_string(
        "assignment",
        None,
        "An activation, a JSON file of site: activation, or proposals.json#NAME.",
        flag_values=values,
    )
    flags.DEFINE_string("out", None, "The .keras or .tflite file to write.", flag_values=values)
    flags.DEFINE_enum(
        "precision",
        "float32",
        ["float32", "float16", "int8"],
        "Precision of a .tflite that is made of a Keras model.",
        flag_values=values,
    )
    flags.DEFINE_bool("overwrite", False, "Whether --out may exist already.", flag_values=values)


def run(values: Any, positional: list[str]) -> None:
    """Runs the command."""
    if not values.assignment or positional:
        raise InputError("Expected --assignment: an activation, a JSON file, or proposals.json#NAME.")
    out = values.out or ""
    if not out.endswith((".keras", ".tflite")):
        raise InputError(f"Expected --out=FILE.keras or FILE.tflite. Received: {values.out!r}.")
    check_new_file(out, values.overwrite)
    from_tflite = (values.model or "").endswith(".tflite")
    if values["precision"].present and (from_tflite or not out.endswith(".tflite")):
        raise InputError(
            "Expected --precision with a Keras model as --model and --out=FILE.tflite. "
            f"Received: --model={values.model}, --out={out}."
        )
    if from_tflite:
        if not out.endswith(".tflite"):
            raise InputError(f"Expected --out=FILE.tflite, since the model is a .tflite. Received: {out!r}.")
        network = TFLiteNetwork(values.model)
        assignment = read_assignment(values.assignment, network.reference)
        network.save(out, assignment)
        _report(assignment.swaps(network.reference), out)
        return
    _apply_to_keras(values, out)


def _apply_to_keras(values: Any, out: str) -> None:
    model = load_model(values)
    from keras_actnas.export import to_tflite
    from keras_actnas.export.keras_files import save_keras
    from keras_actnas.surgery import current_assignment, replace_activations

    reference = current_assignment(model)
    assignment = read_assignment(values.assignment, reference)
    changed = replace_activations(model, assignment)
    if out.endswith(".tflite"):
        images = calibration_images(values, model) if values.precision == "int8" else None
        print(to_tflite(changed, out, values.precision, images))
    else:
        save_keras(changed, out)
    _report(assignment.swaps(reference), out)


def _report(swaps: dict[str, str], out: str) -> None:
    print(f"{out}: {len(swaps)} sites changed. Weights were carried over, not trained: fine-tune the model before use.")
