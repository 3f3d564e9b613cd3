"""What the commands that look at images have in common: which network, and which boxes count."""

from __future__ import annotations

from typing import Any

from absl import flags

from keras_actnas.commands.models import define_model_flags, load_model
from keras_actnas.integrations.detection.suppression import Suppression


def define_detection_flags(values: flags.FlagValues, default: Suppression) -> None:
    """Defines the flags that `load_detector_model` and `make_suppression` read."""
    define_model_flags(values)
    values["model"].help = f"A .tflite. {values['model'].help}"
    flags.DEFINE_float("confidence", default.confidence, "Score above which a box counts.", flag_values=values)
    flags.DEFINE_float(
        "iou", default.iou, "Overlap with a surer box of its class above which a box is dropped.", flag_values=values
    )
    flags.DEFINE_integer(
        "max_detections", default.max_detections, "Detections an image has at most.", flag_values=values
    )
    flags.DEFINE_float(
        "pixel_max", 1.0, "Value of a white pixel as the model expects it: 1 or 255.", flag_values=values
    )
    flags.DEFINE_integer("num_threads", 1, "Threads of the TFLite interpreter.", lower_bound=1, flag_values=values)


def make_suppression(values: Any, multi_label: bool) -> Suppression:
    """Returns the suppression that the flags ask for."""
    return Suppression(values.confidence, values.iou, values.max_detections, multi_label)


def load_detector_model(values: Any) -> Any:
    """Returns what `--model` names as `Detector` takes it: the path of a .tflite, or a Keras model."""
    return values.model if values.model and values.model.endswith(".tflite") else load_model(values)
