"""What a training run of Ultralytics starts from, checked before anything long begins."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from keras_actnas.core.errors import InputError, MissingDependencyError, closest
from keras_actnas.integrations.torch_sites import current_torch_assignment, inner_network

try:
    from ultralytics import YOLO
    from ultralytics.cfg import get_cfg
    from ultralytics.data.utils import IMG_FORMATS, check_det_dataset, img2label_paths
    from ultralytics.utils import DEFAULT_CFG_DICT
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES
except ImportError as error:
    raise MissingDependencyError(error.name or "ultralytics", "ultralytics", "Training a YOLO") from error

_YOLO_NAME = re.compile(r"yolo(v5|v8|11)[nsmlx]")
_LABEL_FILES = 1000

# Settings of Ultralytics that are not for a user of `finetune`.
_OURS = ("cfg", "data", "exist_ok", "mode", "model", "name", "pretrained", "project", "resume", "save_dir", "task")
_SUFFIXES = (".pt", ".yaml", ".yml")


def load_yolo(weights: str | os.PathLike[str]) -> Any:
    """Returns the `YOLO` of a checkpoint or of a network's YAML.

    Ultralytics loads checkpoints by pickle, which runs code that a file brings along: give it files you trust only.

    Args:
      weights: A .pt or .yaml file, or the name of one that Ultralytics knows (`yolov5n.yaml`) or offers for download
        (`yolov5nu.pt`).

    Raises:
      InputError: There is no such file, it cannot be read, or its network is not for detection.
    """
    path = str(weights)
    if not path.endswith(_SUFFIXES):
        raise InputError(f"Expected --weights=FILE.pt or FILE.yaml. Received: {path!r}.")
    if path.endswith(".pt") and not Path(path).is_file() and path not in GITHUB_ASSETS_NAMES:
        raise InputError(f"Expected a checkpoint of Ultralytics. Received: {path}, which does not exist.")
    try:
        yolo = YOLO(path)
    except Exception as error:  # Ultralytics raises many types, depending on what is missing or damaged.
        raise InputError(f"Expected weights that Ultralytics can load. Received: {path} ({_words(error)}).") from error
    if yolo.task != "detect":
        raise InputError(f"Expected a network for detection. Received: {path}, which is for {yolo.task}.")
    return yolo


def check_data(data: str | os.PathLike[str] | None, flag: str = "--data") -> dict[str, Any]:
    """Returns what a data.yaml says, with its paths resolved, once there is what it points to.

    Args:
      data: The file.
      flag: What messages call the place where it was given.

    Raises:
      InputError: The file does not exist or is none, its folders or their images or labels do not exist, or the first
        thousand labels hold classes that it does not name.
    """
    if not data:
        raise InputError(f"Expected {flag}=data.yaml, a detection data set in the format of YOLO. Received: none.")
    try:
        content = check_det_dataset(data)
    except Exception as error:
        raise InputError(f"Expected {flag}=data.yaml of a data set. Received: {data} ({_words(error)}).") from error
    for split in ("train", "val"):
        first = list(islice(_images(content[split], data), _LABEL_FILES))
        if not first:
            raise InputError(f"Expected images where {data} says for {split}: {content[split]}. Received: none.")
        _check_labels(first, content["nc"], data)
    return dict(content)


def check_classes(network: Any, data: Mapping[str, Any], new_classes: bool = False) -> None:
    """Raises `InputError` when trained weights have another number of classes than the data, unless that is meant."""
    own = inner_network(network).model[-1].nc
    if own != data["nc"] and not new_classes:
        raise InputError(
            f"Expected weights for the {data['nc']} classes of the data. Received: weights for {own}. Give weights "
            "that were trained on the data, or --new_classes to begin with an untrained classifier."
        )


def check_network(yolo: Any, name: str, sites: Mapping[str, str]) -> None:
    """Raises `InputError` when an assignment was found for another network.

    Args:
      yolo: The network to train.
      name: The network that the assignment was found for, by name.
      sites: That network's sites.
    """
    network = inner_network(yolo)
    own = Path(str(network.yaml.get("yaml_file", ""))).stem
    if name != own and _YOLO_NAME.fullmatch(name) and _YOLO_NAME.fullmatch(own):
        raise InputError(f"Expected weights of {name}, which the run is of. Received: weights of {own}.")
    present = current_torch_assignment(network)
    present.check_sites(sites)
    left = [site for site in present if site not in sites]
    if left:
        raise InputError(
            f"Expected weights of {name}, with its {len(sites)} sites. Received: a network with {len(present)}, such "
            f"as {left[0]}; is the run of another?"
        )


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raises `InputError` when a setting is none of Ultralytics, has a value it cannot have, or is set here."""
    unknown = [key for key in settings if key not in DEFAULT_CFG_DICT]
    if unknown:
        raise InputError(
            f"Expected settings of Ultralytics. Received: {unknown[0]}.{closest(unknown[0], DEFAULT_CFG_DICT)}"
        )
    ours = [key for key in settings if key in _OURS]
    if ours:
        raise InputError(f"Expected settings besides those that are set here. Received: {ours[0]}.")
    try:
        get_cfg(overrides=dict(settings))
    except (SyntaxError, TypeError, ValueError) as error:
        raise InputError(f"Expected settings of Ultralytics as KEY=VALUE. Received: {_words(error)}.") from error


def _images(places: str | list[str], data: Any) -> Iterator[str]:
    """Yields the image files that a split consists of: those in folders, and those that text files list."""
    for place in [places] if isinstance(places, str) else places:
        path = Path(place)
        if path.is_dir():
            yield from (str(file) for file in path.rglob("*") if file.suffix[1:].lower() in IMG_FORMATS)
        elif path.is_file():
            lines = path.read_text(encoding="utf-8").strip().splitlines()
            yield from (str(path.parent / line[2:]) if line.startswith("./") else line for line in lines)
        else:
            raise InputError(f"Expected {data} to point to images. Received: {place}, which does not exist.")


def _check_labels(images: list[str], classes: int, data: Any) -> None:
    found = 0
    for file in map(Path, img2label_paths(images)):
        if not file.is_file():
            continue
        found += 1
        for line in file.read_text(encoding="utf-8").splitlines():
            number = line.split(maxsplit=1)[0] if line.strip() else "0"
            if not re.fullmatch(r"\d+(\.0*)?", number) or float(number) >= classes:
                raise InputError(
                    f"Expected classes from 0 to {classes - 1}, since {data} names {classes}. Received: {number} in "
                    f"{file}."
                )
    if not found:
        raise InputError(
            f"Expected a label file for each image, such as {img2label_paths(images[:1])[0]}. Received: none."
        )


def _words(error: Exception) -> str:
    """Returns an error of Ultralytics in plain characters, without its icons and colours."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error) or type(error).__name__)
    return " ".join(text.encode("ascii", "ignore").decode().split()).rstrip(".")
