"""Makes a detection data set of real pixels: items of Fashion-MNIST placed on photographs, in the format of YOLO.

  python examples/detect_items/items.py --data /usr/share/datasets/fashion-mnist --out datasets/items

Ten classes, one to five items an image. Training images show items of Fashion-MNIST's training set on crops of some
photographs, validation images items of its test set on crops of the others. Every item is cut out of its black
background, scaled, turned, mirrored and tinted; its box is that of its own pixels. The same seed gives the same images.
The photographs are those of --photos, a folder, or the ten that scikit-image and Ultralytics ship.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml
from pixels import LARGEST, SCALES, SIZE, crop, dress

from keras_actnas.core import InputError, MissingDependencyError
from keras_actnas.integrations.detection.photographs import find_photographs, read_photograph
from keras_actnas.search.images import sample_photographs

sys.path.insert(0, str(Path(__file__).parents[1]))
from fashion_mnist import CLASSES, Part, read

COUNTS = {"train": 2000, "val": 400}
MOST_ITEMS = 5
_OVERLAP = 0.15  # Of the smaller of two boxes, at most.
_TRIES = 20
_RECORD = "items.json"


def make_dataset(
    out: Path,
    data: str | None,
    photos: str | None,
    counts: dict[str, int] | None = None,
    size: int = SIZE,
    seed: int = 0,
    scales: tuple[int, int] = SCALES,
    known_photos: bool = False,
) -> Path:
    """Writes a data set, unless it is there already, and returns the path of its data.yaml.

    Args:
      out: A new folder for it.
      data: Folder of Fashion-MNIST; None to download it with Keras.
      photos: Folder of photographs; None for those that scikit-image and Ultralytics ship.
      counts: Images of each split, "train" and "val".
      size: Height and width of the images, in pixels.
      seed: Seed of everything random.
      scales: Longer side of the smallest and of the largest items, as `SCALES` has it.
      known_photos: Whether validation images show crops of the training photographs, so that the items alone are new.
        What a network makes of the few other photographs is a matter of luck, in which trainings differ.

    Raises:
      InputError: The folder holds something else, or what the images are made from cannot be used.
    """
    counts = dict(counts or COUNTS)
    if min(counts.values()) < 1:
        raise InputError(f"Expected images in each split (--train, --val). Received: {counts}.")
    if size < 32 or size % 32:
        raise InputError(f"Expected a size of 32 pixels or a multiple, which a YOLO takes (--size). Received: {size}.")
    if not 8 <= scales[0] <= scales[1] <= LARGEST:
        raise InputError(
            f"Expected items from 8 to {LARGEST} pixels, in images of {SIZE} (--scales). Received: {scales}."
        )
    paths = dict(
        zip(
            counts,
            split_photographs(shipped_photographs() if photos is None else find_photographs([photos])),
            strict=True,
        )
    )
    if known_photos:
        paths["val"] = paths["train"]
    record = {
        "counts": counts,
        "size": size,
        "seed": seed,
        "scales": list(scales),
        "photos": {name: [path.name for path in part] for name, part in paths.items()},
    }
    if out.exists():
        _check_same(out, record)
        return out / "data.yaml"
    parts = dict(zip(counts, read(data), strict=True))
    unfinished = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for number, (split, count) in enumerate(counts.items()):
        photographs = [read_photograph(path) for path in paths[split]]
        for kind in ("images", "labels"):
            (unfinished / kind / split).mkdir(parents=True)
        for index in range(count):
            # A generator for each: an image is the same whatever the number of images.
            rng = np.random.default_rng((seed, number, index))
            image, rows = make_image(photographs, parts[split], size, rng, scales)
            name = f"{index:05}"
            cv2.imwrite(
                str(unfinished / "images" / split / f"{name}.jpg"), image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 95)
            )
            lines = [f"{label} " + " ".join(f"{value / size:.6f}" for value in box) for label, box in rows]
            (unfinished / "labels" / split / f"{name}.txt").write_text("\n".join(lines) + "\n")
    content = {**{split: f"images/{split}" for split in counts}, "names": dict(enumerate(CLASSES))}
    (unfinished / "data.yaml").write_text(yaml.safe_dump({"path": str(out.resolve()), **content}, sort_keys=False))
    (unfinished / _RECORD).write_text(json.dumps(record, indent=1) + "\n")
    unfinished.rename(out)
    return out / "data.yaml"


def shipped_photographs() -> list[Path]:
    """Returns the photographs that scikit-image and Ultralytics ship, without importing either's slow parts."""
    found = importlib.util.find_spec("ultralytics")
    if found is None or found.origin is None:
        raise MissingDependencyError("ultralytics", "ultralytics", "A data set on its photographs")
    return [*sample_photographs(), *find_photographs([Path(found.origin).parent / "assets"])]


def split_photographs(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Returns those for training, and those for validation: every third by name, or one of two.

    >>> split_photographs([Path(name) for name in "edcba"])[1]
    [PosixPath('c')]
    """
    paths = sorted(paths, key=lambda path: path.name)
    if len(paths) < 2:
        raise InputError(
            f"Expected two photographs at least (--photos), one to train on and one to validate on. Received: "
            f"{len(paths)}."
        )
    val = paths[2::3] or paths[-1:]
    return [path for path in paths if path not in val], val


def make_image(
    photographs: Sequence[np.ndarray],
    part: Part,
    size: int,
    rng: np.random.Generator,
    scales: tuple[int, int] = SCALES,
) -> tuple[np.ndarray, list[tuple[int, tuple[float, float, float, float]]]]:
    """Returns an image, uint8 (size, size, 3), RGB, and its items: class, and centre, width and height in pixels."""
    image = crop(photographs[rng.integers(len(photographs))], size, rng)
    images, labels = part
    boxes: list[np.ndarray] = []
    rows = []
    for _ in range(rng.integers(1, MOST_ITEMS + 1)):
        label = int(rng.integers(len(CLASSES)))
        colours, alpha = dress(images[rng.choice(np.flatnonzero(labels == label))], size, rng, scales)
        height, width = alpha.shape
        corner = _free_corner(boxes, height, width, size, rng)
        if corner is None:
            continue
        top, left = corner
        place = image[top : top + height, left : left + width]
        place[:] = np.round(alpha[..., None] * colours + (1 - alpha[..., None]) * place)
        boxes.append(np.array((top, left, top + height, left + width)))
        rows.append((label, (left + width / 2, top + height / 2, float(width), float(height))))
    return image, rows


def _free_corner(
    boxes: Sequence[np.ndarray], height: int, width: int, size: int, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Returns a place for a box among others, top and left; None when none is found."""
    for _ in range(_TRIES):
        top, left = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
        box = np.array((top, left, top + height, left + width))
        if all(_shared(box, other) <= _OVERLAP for other in boxes):
            return top, left
    return None


def _shared(box: np.ndarray, other: np.ndarray) -> float:
    """Returns which share of the smaller of two boxes both have in common."""
    inner = np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None)
    return float(inner.prod() / min((one[2:] - one[:2]).prod() for one in (box, other)))


def _check_same(out: Path, record: dict[str, object]) -> None:
    try:
        found = json.loads((out / _RECORD).read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"Expected a new folder (--out), or a data set made here. Received: {out} ({error})."
        ) from error
    for name, value in record.items():
        if found.get(name) != value:
            raise InputError(
                f"Expected the data set in {out} to be of {name}={value}. Received: one of {name}={found.get(name)}; "
                "choose another folder."
            )


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", help="folder with the four idx .gz files of Fashion-MNIST (default: Keras downloads them)"
    )
    parser.add_argument("--photos", help="folder of photographs (default: those of scikit-image and Ultralytics)")
    parser.add_argument("--train", type=int, default=COUNTS["train"], help="training images (default: %(default)s)")
    parser.add_argument("--val", type=int, default=COUNTS["val"], help="validation images (default: %(default)s)")
    parser.add_argument("--size", type=int, default=SIZE, help="height and width in pixels (default: %(default)s)")
    parser.add_argument(
        "--scales",
        type=int,
        nargs=2,
        default=SCALES,
        metavar=("FROM", "TO"),
        help=f"longer side of the items in pixels, in images of {SIZE}; in others in proportion (default: %(default)s)",
    )
    parser.add_argument(
        "--known_photos", action="store_true", help="validation images show the training photographs, with other items"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--out", default="datasets/items", help="a new folder (default: %(default)s)")
    options = parser.parse_args()
    try:
        counts = {"train": options.train, "val": options.val}
        scales = tuple(options.scales)
        print(
            make_dataset(
                Path(options.out),
                options.data,
                options.photos,
                counts,
                options.size,
                options.seed,
                scales,
                options.known_photos,
            )
        )
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
