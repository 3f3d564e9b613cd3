"""keras-actnas predict: find objects on images with a YOLO, and draw them.

  keras-actnas predict bus.jpg photos --model=yolov5n.tflite --data=data.yaml --out=found

Writes each image with its detections drawn, detections.json and detections.csv into the folder --out. A .tflite runs
without Keras and TensorFlow, so on a board too: pip install "keras-actnas[detect]".
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from absl import flags

from keras_actnas.commands.detection import define_detection_flags, load_detector_model, make_suppression
from keras_actnas.commands.runs import progress
from keras_actnas.core.errors import InputError
from keras_actnas.core.files import write_atomically
from keras_actnas.integrations.detection.dataset import read_names
from keras_actnas.integrations.detection.detector import Detector
from keras_actnas.integrations.detection.drawing import draw_detections
from keras_actnas.integrations.detection.photographs import find_photographs, read_photograph
from keras_actnas.integrations.detection.suppression import Detections, Suppression

_COLUMNS = ("image", "class", "name", "score", "left", "top", "right", "bottom")


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    define_detection_flags(values, Suppression())
    flags.DEFINE_string("data", None, "data.yaml whose `names:` the classes have.", flag_values=values)
    flags.DEFINE_string("out", "detections", "Folder to write to.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Whether files in --out may exist already.", flag_values=values)


def run(values: Any, positional: list[str]) -> None:
    """Runs the command."""
    if not positional:
        raise InputError("Expected images or folders of images, such as `predict bus.jpg --model=...`. Received: none.")
    targets = _targets(find_photographs(positional), Path(values.out), values.overwrite)
    suppression = make_suppression(values, multi_label=False)
    names = read_names(values.data) if values.data else None
    detector = Detector(load_detector_model(values), names, suppression, values.pixel_max, values.num_threads)
    rows: list[dict[str, Any]] = []
    for path, target in progress(list(targets.items()), "detection", "image"):
        image = read_photograph(path)
        found = detector(image)
        _save(draw_detections(image, found, detector.names), target)
        rows += _rows(path, found, detector.names)
    for name, text in (("detections.json", json.dumps(rows, indent=1)), ("detections.csv", _table(rows))):
        write_atomically(Path(values.out) / name, text)
    print(f"{len(rows)} detections on {len(targets)} images; drawn in {values.out}, listed in detections.json and .csv")


def _targets(images: list[Path], folder: Path, overwrite: bool) -> dict[Path, Path]:
    """Returns image -> the file to draw it to; makes the folder."""
    targets: dict[Path, Path] = {}
    for image in images:
        # Formats that every viewer shows; a JPEG stays one, which is small.
        target = folder / (image.name if image.suffix.lower() in (".jpg", ".jpeg", ".png") else f"{image.stem}.png")
        if target in targets.values():
            raise InputError(f"Expected images of different names. Received: two that would be drawn to {target}.")
        if target.exists() and any(target.samefile(one) for one in images):
            raise InputError(f"Expected --out to be another folder than the images'. Received: {folder}.")
        targets[image] = target
    for file in (*targets.values(), folder / "detections.json", folder / "detections.csv"):
        if file.exists() and not overwrite:
            raise InputError(f"Expected new files in --out. Received: {file}, which exists; give --overwrite.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Expected --out to be a folder. Received: {folder} ({error.strerror}).") from error
    return targets


def _save(picture: Any, target: Path) -> None:
    content = io.BytesIO()
    picture.save(content, "PNG" if target.suffix.lower() == ".png" else "JPEG", quality=95)
    write_atomically(target, content.getvalue())


def _rows(path: Path, found: Detections, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Returns the detections of one image as values that JSON holds."""
    return [
        dict(zip(_COLUMNS, (str(path), int(number), names[number], float(score), *map(float, box)), strict=True))
        for box, score, number in zip(found.boxes, found.scores, found.classes, strict=True)
    ]


def _table(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
