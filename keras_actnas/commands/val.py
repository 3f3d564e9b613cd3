"""keras-actnas val: mean average precision (mAP) of a YOLO on a dataset in YOLO's format.

  keras-actnas val --model=yolov5n.tflite --data=data.yaml

COCO's own evaluator, pycocotools, at Ultralytics' settings. --out writes the figures as JSON.
"""

from __future__ import annotations

import json
from typing import Any

from absl import flags

from keras_actnas.commands.detection import define_detection_flags, load_detector_model, make_suppression
from keras_actnas.commands.models import check_new_file
from keras_actnas.commands.runs import progress
from keras_actnas.core.errors import InputError
from keras_actnas.core.files import write_atomically
from keras_actnas.integrations.detection.dataset import read_dataset
from keras_actnas.integrations.detection.evaluation import EVALUATION, evaluate_detection


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    define_detection_flags(values, EVALUATION)
    flags.DEFINE_string("data", None, "data.yaml of the dataset.", flag_values=values)
    flags.DEFINE_string("split", "val", "Split of the dataset: train, val or test.", flag_values=values)
    flags.DEFINE_string("out", None, "JSON file to write the figures to.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Whether --out may exist already.", flag_values=values)


def run(values: Any, positional: list[str]) -> None:
    """Runs the command."""
    if not values.data or positional:
        raise InputError(f"Expected --data=data.yaml. Received: {positional[0] if positional else values.data!r}.")
    if values.out:
        check_new_file(values.out, values.overwrite)
    suppression = make_suppression(values, EVALUATION.multi_label)
    dataset = read_dataset(values.data, values.split)  # Before the model, which takes longer to load.
    metrics = evaluate_detection(
        load_detector_model(values),
        dataset,
        suppression,
        values.pixel_max,
        values.num_threads,
        lambda images: progress(images, "detection", "image"),
    )
    print(f"{metrics}\n{metrics.images} images of {values.data}, {values.split}; {values.model}")
    if values.out:
        write_atomically(values.out, json.dumps(metrics.to_json(), indent=1))
