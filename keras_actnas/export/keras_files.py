"""Writing .keras files, and why one cannot be read."""

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


def loading_problem(error: Exception) -> str:
    """Returns what is wrong with a file that Keras did not load: the cause, of all that Keras has to say."""
    # The cause comes last, behind what the layers around it have to say.
    lines = str(error).split("Exception encountered: ")[-1].strip().splitlines()
    return (lines or [type(error).__name__])[0][:200]
