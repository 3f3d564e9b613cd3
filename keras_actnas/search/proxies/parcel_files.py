"""The files of a parcel in a folder; without Keras, which a Dask worker need not import."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path


def unpack(parcel: Mapping[str, bytes], folder: Path) -> None:
    """Writes the files of a parcel into a folder."""
    for name, content in parcel.items():
        (folder / name).write_bytes(content)


def digest_of(parcel: Mapping[str, bytes]) -> str:
    """Returns a hash of a parcel's contents."""
    digest = hashlib.sha256()
    for name, content in sorted(parcel.items()):
        digest.update(f"{name}:{len(content)}:".encode() + content)
    return digest.hexdigest()
