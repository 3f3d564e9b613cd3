"""Batches of photographs to score a network with."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_actnas.core.errors import InputError, MissingDependencyError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

# The photographs among the pictures that the scikit-image wheel holds; the others there are drawings, textures, text
# and single-channel images.
_SAMPLES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)


def image_batch(
    folder: str | os.PathLike[str] | None,
    count: int,
    shape: tuple[int, int, int],
    seed: int = 0,
    pixel_max: float = 1.0,
) -> np.ndarray:
    """Returns a batch of random crops of photographs, all different.

    Args:
      folder: Folder of images; None takes the photographs that scikit-image ships.
      count: Size of the batch. With fewer photographs than that, several crops come from each.
      shape: (height, width, channels) of each image; one channel gives grey images.
      seed: Seed of the choice of photographs and crops.
      pixel_max: Value of a white pixel, as the model expects it: 1 or 255.

    Returns:
      Float32 array of shape (count, height, width, channels) with values in [0, pixel_max].

    Raises:
      InputError: The folder is missing, holds no image, or holds a file that is not a whole image; the shape is not
        that of an image; or `pixel_max` is not above 0.
    """
    if len(shape) != 3 or None in shape or shape[2] not in (1, 3):
        raise InputError(
            "Expected a model whose input is an image of fixed size, (height, width, 1 or 3). "
            f"Received: one with input shape {tuple(shape)}."
        )
    if not 0 < pixel_max < math.inf:
        raise InputError(f"Expected pixel_max above 0, such as 1 or 255. Received: {pixel_max}.")
    paths = sample_photographs() if folder is None else _image_paths(Path(folder))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(paths))
    photos: dict[int, Any] = {}
    crops = []
    for number in range(count):
        index = int(order[number % len(paths)])
        if index not in photos:
            photos[index] = _open(paths[index], grey=shape[2] == 1)
        crops.append(_random_crop(photos[index], shape, rng))
    batch = np.stack(crops).reshape(count, *shape)
    return (batch.astype(np.float32) * np.float32(pixel_max / 255)).astype(np.float32)


def _pillow() -> Any:
    try:
        import PIL.Image
    except ImportError as error:
        raise MissingDependencyError("pillow", "search", "Reading images") from error
    return PIL.Image


def sample_photographs() -> list[Path]:
    """Returns the photographs that scikit-image ships.

    Raises:
      InputError: It ships them no more.
      MissingDependencyError: It is not installed.
    """
    try:
        import skimage
    except ImportError as error:
        raise MissingDependencyError("scikit-image", "search", "Scoring on sample photographs") from error
    folder = Path(skimage.__file__).parent / "data"
    paths = [folder / name for name in _SAMPLES]
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        raise InputError(
            f"Expected scikit-image to ship {missing[0]}. Received: an installation without; give --images."
        )
    return paths


def _image_paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"Expected a folder of images. Received: {folder}, which is no folder.")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"Expected images ({', '.join(SUFFIXES)}) in {folder}. Received: a folder without any.")
    _check_different(paths)
    return paths


def _check_different(paths: list[Path]) -> None:
    first: dict[bytes, Path] = {}
    for path in paths:
        try:
            digest = hashlib.sha256(path.read_bytes()).digest()
        except OSError as error:
            raise InputError(f"Expected an image that can be read. Received: {path} ({error.strerror}).") from error
        other = first.setdefault(digest, path)
        if other is not path:
            raise InputError(f"Expected different images. Received: {path}, a copy of {other.name}. Remove one.")


def _open(path: Path, grey: bool) -> Any:
    image = _pillow()
    try:
        with image.open(path) as opened:
            return opened.convert("L" if grey else "RGB")
    except (OSError, ValueError, SyntaxError, ImportError, image.DecompressionBombError) as error:
        # Ultralytics, once imported, replaces Pillow's `open`, and wants a plug-in for what that cannot identify.
        reason = error.__context__ if isinstance(error, ImportError) else error
        raise InputError(
            f"Expected an image. Received: {path}, broken or of another kind ({reason}). Remove it."
        ) from error


def _random_crop(photo: Any, shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Returns a crop of the target's proportions, half to all of the photo's size, scaled to the target."""
    height, width, _ = shape
    largest = min(photo.width / width, photo.height / height)
    scale = largest * rng.uniform(0.5, 1.0)
    left = rng.uniform(0, photo.width - width * scale)
    top = rng.uniform(0, photo.height - height * scale)
    box = (left, top, left + width * scale, top + height * scale)
    crop = photo.resize((width, height), _pillow().Resampling.BILINEAR, box=box)
    if rng.random() < 0.5:
        crop = crop.transpose(_pillow().Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(crop)
