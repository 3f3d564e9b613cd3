"""A detection dataset in YOLO's format: a data.yaml, images, and a text file of boxes for each."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_actnas.core.errors import InputError, MissingDependencyError
from keras_actnas.integrations.detection.labels import Truth, label_path, read_labels
from keras_actnas.integrations.detection.photographs import find_photographs

_SPLITS = ("train", "val", "test")


@dataclasses.dataclass(frozen=True)
class DetectionDataset:
    """One split of a dataset.

    Attributes:
      names: What the classes are called.
      truths: Image file -> what is in it.
    """

    names: tuple[str, ...]
    truths: Mapping[Path, Truth]


def read_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Returns what a data.yaml calls the classes, without looking for its images.

    Raises:
      InputError: The file cannot be read, or has no `names`, or `nc` says another number of classes.
      MissingDependencyError: PyYAML is not installed.
    """
    return _names(_load(Path(path)), Path(path))


def read_dataset(path: str | os.PathLike[str], split: str = "val") -> DetectionDataset:
    """Reads a split of a dataset: every label is checked, before any image is.

    Args:
      path: The data.yaml, with `path` (of the dataset; its own folder when absent), the splits (each a folder of
        images, a .txt that lists images, or a list of such) and `names`.
      split: "train", "val" or "test".

    Returns:
      The split. An image without a label file, or with an empty one, shows no object.

    Raises:
      InputError: A file or folder is missing (the message names the path that was tried), no image, or none
        that shows an object, or a label cannot be used.
      MissingDependencyError: PyYAML is not installed.

    Example::

        dataset = read_dataset("coco128.yaml")
        print(len(dataset.truths), dataset.names[0])
    """
    file = Path(path)
    data = _load(file)
    names = _names(data, file)
    if split not in _SPLITS:
        raise InputError(f"Expected --split to be one of {', '.join(_SPLITS)}. Received: {split!r}.")
    places = data.get(split)
    if not places:
        have = ", ".join(one for one in _SPLITS if data.get(one)) or "none"
        raise InputError(f"Expected `{split}:` in {file}, the images to take. Received: a file with the splits {have}.")
    root = _root(data, file)
    images = [image for place in (places if isinstance(places, list) else [places]) for image in _images(root, place)]
    truths = {image: read_labels(label_path(image), len(names)) for image in images}
    if not any(len(truth.classes) for truth in truths.values()):
        raise InputError(
            f"Expected a label file for each image that shows an object. Received: {len(images)} images without a "
            f"label; {label_path(images[0])} was tried for {images[0]}."
        )
    return DetectionDataset(names, truths)


def _load(file: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError("pyyaml", "detect", "Reading a data.yaml") from error
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Expected --data to be a data.yaml. Received: {file} ({error.strerror}).") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"Expected --data to be a data.yaml. Received: {file}, which is no YAML ({error}).") from error
    if not isinstance(data, dict):
        raise InputError(f"Expected {file} to hold `path`, `val` and `names`. Received: {type(data).__name__}.")
    return data


def _names(data: Mapping[str, Any], file: Path) -> tuple[str, ...]:
    names, count = data.get("names"), data.get("nc")
    if names is None and isinstance(count, int) and count > 0:
        return tuple(map(str, range(count)))
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
            raise InputError(f"Expected `names:` in {file} to number the classes from 0. Received: {list(names)}.")
        names = [name for _, name in sorted(names.items(), key=lambda item: int(item[0]))]
    if not isinstance(names, list) or not names:
        raise InputError(f"Expected `names:` in {file}, a list of the classes. Received: {names!r}.")
    if count is not None and count != len(names):
        raise InputError(f"Expected `nc:` in {file} to be the number of `names:`, {len(names)}. Received: {count!r}.")
    return tuple(map(str, names))


def _root(data: Mapping[str, Any], file: Path) -> Path:
    """Returns the dataset's folder: where `path` leads from the data.yaml, or from here, as it does in Ultralytics."""
    given = Path(str(data.get("path") or "."))
    tried = list(dict.fromkeys((file.resolve().parent / given, given.absolute())))
    for folder in tried:
        if folder.is_dir():
            return folder
    raise InputError(
        f"Expected `path:` in {file} to lead to the dataset. Received: {str(given)!r}; "
        f"tried {' and '.join(map(str, tried))}."
    )


def _images(root: Path, place: object) -> list[Path]:
    """Returns the images of one entry of a split."""
    path = root / str(place)
    if path.suffix == ".txt" and path.is_file():
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        # Ultralytics reads `./` as the folder of the list, and other names from the current folder.
        listed = [path.parent / line if line.startswith("./") else Path(line) for line in lines]
        if not listed:
            raise InputError(f"Expected {path} to list images, one a line. Received: an empty list.")
        return find_photographs(listed)
    if not path.exists():
        raise InputError(
            f"Expected images of the dataset at {path}, which does not exist. Check `path:` and its splits."
        )
    return find_photographs([path])
