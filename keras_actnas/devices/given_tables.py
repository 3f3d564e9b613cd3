"""A device whose tables are in files, wherever they came from."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.table import MetricTable
from keras_actnas.devices.device import Device, Reading


class GivenTables(Device):
    """A target of which there are metric tables, in CSV or JSON, and nothing else: no network can be measured.

    Args:
      paths: The files, one for each metric: see `MetricTable`. A CSV has the columns site, activation, metric, unit,
        reference, delta, and perhaps standard_error.

    Raises:
      InputError: A file cannot be read, names no metric, or two are of the same one.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        self.name = f"tables:{','.join(Path(path).name for path in paths)}"
        self.available = {}
        self.metrics = metrics = {}
        self._paths = {}
        digest = hashlib.sha256()
        for path in paths:
            metric, unit = _metric_of(Path(path))
            if metric in metrics:
                raise InputError(f"Expected tables of different metrics. Received: two of {metric!r}, one in {path}.")
            metrics[metric], self._paths[metric] = unit, Path(path)
            digest.update(Path(path).read_bytes())
        self._digest = digest.hexdigest()[:16]

    def describe(self) -> Mapping[str, Any]:
        """Returns what tells these tables from others."""
        return {"tables": self._digest}

    def tables(self, reference: Assignment) -> dict[str, MetricTable]:
        """Returns the tables, by metric."""
        return {metric: MetricTable.load(path, reference) for metric, path in self._paths.items()}

    def measure(self, candidate: bytes, reference: bytes, runs: int) -> Reading:
        """Refuses: there is nothing that measures."""
        raise InputError(f"Expected a device that measures. Received: {self.name}.")


def _metric_of(path: Path) -> tuple[str, str]:
    """Returns metric and unit of the table in a file."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".csv":
            content: Mapping[str, Any] = next(csv.DictReader(text.splitlines()), {})
        else:
            content = json.loads(text)
        return content["metric"], content["unit"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"Expected a metric table. Received: {path} ({type(error).__name__}: {error}).") from error
