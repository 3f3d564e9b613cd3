"""Photographs that a detector looks at: which files there are, and their pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from keras_actnas.core.errors import InputError, MissingDependencyError
from keras_actnas.search.images import SUFFIXES


def opencv() -> Any:
    """Returns OpenCV, which resizes and decodes as Ultralytics does.

    Raises:
      MissingDependencyError: It is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        otherwise = "; on a board without a display: pip install opencv-python-headless"
        raise MissingDependencyError("opencv-python", "detect", "Detection on images", otherwise) from error
    return cv2


def find_photographs(places: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Returns the image files that are named, and those in the folders that are named, sorted by name.

    Raises:
      InputError: A place does not exist, is no image by its suffix, or is a folder without images.
    """
    found: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            inside = sorted(path for path in place.iterdir() if path.suffix.lower() in SUFFIXES)
            if not inside:
                raise InputError(f"Expected images ({', '.join(SUFFIXES)}) in {place}. Received: a folder without any.")
            found += inside
        elif place.is_file() and place.suffix.lower() in SUFFIXES:
            found.append(place)
        else:
            what = "another kind of file" if place.is_file() else "which does not exist"
            raise InputError(f"Expected an image ({', '.join(SUFFIXES)}) or a folder. Received: {place}, {what}.")
    return found


def read_photograph(path: str | os.PathLike[str]) -> np.ndarray:
    """Returns an image's pixels, turned as its EXIF data say: uint8 of shape (height, width, 3), RGB.

    Raises:
      InputError: The file cannot be read, or is no whole image.
    """
    cv2 = opencv()
    try:
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"Expected an image that can be read. Received: {path} ({error.strerror}).") from error
    # From memory: `imread` fails on names outside ASCII on some systems, and on an empty file this one raises.
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if pixels is None:
        raise InputError(f"Expected an image. Received: {path}, broken or of another kind. Remove it.")
    return np.ascontiguousarray(pixels[..., ::-1])
