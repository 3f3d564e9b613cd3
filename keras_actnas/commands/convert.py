"""keras-actnas convert: convert a model to .tflite and check the result.

  keras-actnas convert --model=yolov5n --image_size=320 --out=yolov5n.tflite

The file knows its sites by name, so that `keras-actnas apply` and `TFLiteNetwork` can exchange activations in it. An
int8 file is calibrated on photographs; with --editable it has SiLU at every site, for its activations to be exchanged.
"""

from __future__ import annotations

from typing import Any

from absl import flags

from keras_actnas.commands.calibration import calibration_images, define_calibration_flags
from keras_actnas.commands.models import check_new_file, define_model_flags, load_model
from keras_actnas.core.errors import InputError


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    define_model_flags(values)
    define_calibration_flags(values)
    flags.DEFINE_string("out", None, "The .tflite file to write.", flag_values=values)
    flags.DEFINE_enum("precision", "float32", ["float32", "float16", "int8"], "Precision.", flag_values=values)
    flags.DEFINE_bool(
        "editable", None, "Whether sites are named, for editing; by default not in int8.", flag_values=values
    )
    flags.DEFINE_bool("overwrite", False, "Whether --out may exist already.", flag_values=values)


def run(values: Any, positional: list[str]) -> None:
    """Runs the command."""
    if not values.out or not values.out.endswith(".tflite") or positional:
        raise InputError(f"Expected --out=FILE.tflite. Received: {positional[0] if positional else values.out!r}.")
    check_new_file(values.out, values.overwrite)
    model = load_model(values)
    from keras_actnas.export import to_editable, to_tflite

    images = calibration_images(values, model) if values.precision == "int8" else None
    editable = values.precision != "int8" if values.editable is None else values.editable
    print((to_editable if editable else to_tflite)(model, values.out, values.precision, images))
