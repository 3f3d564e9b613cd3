"""What makes a proxy somewhere else: the model, the images and a description, as files."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_actnas.export.keras_files import save_keras

Parcel = dict[str, bytes]
"""Name of a file -> what is in it."""


def pack(
    name: str,
    model: keras.Model,
    images: Sequence[np.ndarray],
    activations: Sequence[str],
    batch_norm: str,
    conditions: Sequence[Mapping[str, Any]],
) -> Parcel:
    """Returns the files that a process makes the same proxy of, bit by bit: see `worker.scorer`.

    Args:
      name: The proxy: one of `PROXIES`, or module:function.
      model: The model; it is saved as .keras, so layers of one's own have to be registered or importable.
      images: One batch of images each, shape (batch, height, width, channels).
      activations: What the sites can be switched to.
      batch_norm: "inference" or "batch".
      conditions: The conditions of the proxy on each batch here, which those elsewhere have to agree with.
    """
    description = {
        "name": name,
        "batches": len(images),
        "activations": list(activations),
        "batch_norm": batch_norm,
        "conditions": [dict(each) for each in conditions],
        "backend": keras.backend.backend(),
    }
    parcel = {"proxy.json": json.dumps(description).encode()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        save_keras(model, path)
        parcel[path.name] = path.read_bytes()
    for number, batch in enumerate(images):
        file = io.BytesIO()
        np.save(file, batch)
        parcel[f"{number}.npy"] = file.getvalue()
    return parcel
