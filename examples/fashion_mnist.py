"""Fashion-MNIST, for the examples that train."""

from __future__ import annotations

import dataclasses
import gzip
import zlib
from pathlib import Path

import numpy as np

from keras_actnas.core import InputError

CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}

Part = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Data:
    """Images of shape (n, 28, 28, 1), standardized, and labels."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    @property
    def fingerprint(self) -> str:
        """Checksum of all images and labels."""
        parts = (np.ascontiguousarray(getattr(self, field.name)) for field in dataclasses.fields(self))
        return "-".join(f"{zlib.crc32(part.tobytes()):08x}" for part in parts)


def load(folder: str | None, images: int | None) -> Data:
    """Returns the first training images of Fashion-MNIST and all of its test images.

    Args:
      folder: Where the four idx files are; None to download them with Keras.
      images: How many training images; None for all.
    """
    train, test = read(folder)
    available = len(train[0])
    if images is not None and images > available:
        raise InputError(f"Expected --images of {available} at most. Received: {images}.")
    scaled = ((part.astype("float32") / 255 - 0.286)[..., None] / 0.353 for part in (train[0][:images], test[0]))
    train_images, test_images = scaled
    return Data(train_images, train[1][:images].astype("int32"), test_images, test[1].astype("int32"))


def read(folder: str | None) -> tuple[Part, Part]:
    """Returns the training part and the test part as they are: images of bytes (n, 28, 28), and labels.

    Args:
      folder: Where the four idx files are; None to download them with Keras.
    """
    if folder is None:
        import keras

        try:
            train, test = keras.datasets.fashion_mnist.load_data()
        except Exception as error:  # Keras raises a bare Exception when it cannot download.
            raise InputError(f"Fashion-MNIST could not be downloaded ({error}); see --data in --help.") from error
        return train, test
    if not Path(folder).is_dir():
        raise InputError(f"Expected --data to be a folder. Received: {folder}, which is none.")
    train, test = (
        (read_idx(Path(folder) / images), read_idx(Path(folder) / labels)) for images, labels in FILES.values()
    )
    return train, test


def read_idx(path: Path) -> np.ndarray:
    """Returns the array of bytes in a gzipped file of the MNIST format."""
    try:
        content = gzip.decompress(path.read_bytes())
        axes = content[3]
        shape = np.frombuffer(content, ">u4", axes, offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except FileNotFoundError:
        raise InputError(f"Expected --data to hold {', '.join(sum(FILES.values(), ()))}. Missing: {path}.") from None
    except (OSError, EOFError, zlib.error, ValueError, IndexError) as error:
        raise InputError(f"Expected a gzipped file of the MNIST format. Received: {path} ({error}).") from error
