"""The files of a run folder that anybody may read: whose run it is, and its tables."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from keras_actnas.core.errors import InputError
from keras_actnas.core.table import MetricTable

FORMAT = 1

IDENTITY = "run.json"
"""The file by which a folder is known as that of a run."""


def read_identity(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns what the measurements of a run depend on: model, device, threads, images, ...

    Raises:
      InputError: The folder's `run.json` cannot be read, or holds something else.
    """
    path = Path(folder, IDENTITY)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, not {FORMAT}")
        return dict(content["identity"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"Expected the run.json of a run. Received: {path} ({error}).") from error


def read_tables(folder: str | os.PathLike[str]) -> dict[str, MetricTable]:
    """Returns the metric tables of a run, by metric.

    Raises:
      InputError: A table cannot be read.
    """
    tables = [MetricTable.load(path) for path in sorted(Path(folder, "tables").glob("*.json"))]
    return {table.metric: table for table in tables}
