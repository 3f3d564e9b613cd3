"""Writing .keras files."""

from __future__ import annotations

import os
from pathlib import Path

import keras

from keras_actnas.core.errors import InputError


def save_keras(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Writes a `.keras` file whole or not at all."""
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.partial.keras")
    try:
        model.save(temporary)
        temporary.replace(target)
    except OSError as error:
        raise InputError(f"Expected a place that can be written. Received: {target} ({error.strerror}).") from error
    finally:
        temporary.unlink(missing_ok=True)
