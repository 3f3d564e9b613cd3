"""The folder of a search: what belongs to it, and whether it belongs to this search."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_actnas.core.errors import InputError
from keras_actnas.core.files import write_atomically
from keras_actnas.core.journal import Journal
from keras_actnas.core.run_files import FORMAT, IDENTITY, read_identity, read_tables
from keras_actnas.core.table import MetricTable


class RunFolder:
    """Where a search keeps its journal, tables and results.

    Args:
      path: The folder; made when it does not exist.
      identity: What the measurements in it depend on: model, device, threads, images, ... A folder made for another
        identity is refused, since its measurements would be mixed up with these.

    Attributes:
      journal: The measurements made so far.

    Raises:
      InputError: The folder cannot be written, holds something else, or belongs to another run.
    """

    def __init__(self, path: str | os.PathLike[str], identity: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.identity = json.loads(json.dumps(dict(identity)))
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Hidden files are the system's, or what a kill left of a file that was being written.
            names = [entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")]
        except OSError as error:
            raise InputError(f"Expected a folder that can be written. Received: {path} ({error.strerror}).") from error
        if IDENTITY in names:
            self._check_identity()
        elif names:
            raise InputError(
                f"Expected an empty folder, or one of an earlier run. Received: {path}, which holds other files. "
                "Choose another --out."
            )
        else:
            self._write_identity()
        if not os.access(self.path, os.W_OK):
            raise InputError(f"Expected a folder that can be written. Received: {path}, which is read-only.")
        self.journal = Journal(self.file("journal.jsonl"))

    def file(self, *parts: str) -> Path:
        """Returns the path of a file in the folder."""
        return self.path.joinpath(*parts)

    def save_table(self, table: MetricTable) -> None:
        """Writes a metric table as CSV and JSON under `tables/`."""
        folder = self.file("tables")
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"Expected a place for tables. Received: {folder} ({error.strerror}).") from error
        table.save(folder / f"{table.metric}.csv")
        table.save(folder / f"{table.metric}.json")

    def load_tables(self) -> dict[str, MetricTable]:
        """Returns the tables that have been written, by metric."""
        return read_tables(self.path)

    def _write_identity(self) -> None:
        content = {"format": FORMAT, "identity": self.identity}
        write_atomically(self.file(IDENTITY), json.dumps(content, indent=1) + "\n")

    def _check_identity(self) -> None:
        identity = read_identity(self.path)
        different = [key for key in {**identity, **self.identity} if identity.get(key) != self.identity.get(key)]
        if different:
            key = different[0]
            raise InputError(
                f"Expected a folder of this run. Received: {self.path}, which belongs to a run with "
                f"{key}={identity.get(key)!r}, not {self.identity.get(key)!r}. Choose another --out."
            )
