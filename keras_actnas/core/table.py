"""Metric tables: what each activation at each site costs, relative to the reference network."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_actnas.core.activations import canonical_name
from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.files import write_atomically

FORMAT = 1
_CSV_FIELDS = ("site", "activation", "metric", "unit", "reference", "delta", "standard_error")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its standard error, both in the unit of their metric; the error is NaN where it is not known."""

    value: float
    standard_error: float = math.nan

    def __sub__(self, other: float) -> Estimate:
        return Estimate(self.value - other, self.standard_error)


@dataclasses.dataclass(frozen=True, eq=False)
class MetricTable:
    """Site x activation -> change of a metric against the reference network (ActNAS section 3).

    The paper's latency, memory and accuracy tables are of this type.

    Attributes:
      metric: Name of the metric: "latency", "nwot", ...
      unit: Its unit ("ms"); empty for a score.
      reference: The reference network's assignment; its keys are the table's rows.
      activations: The table's columns.
      reference_value: The metric of the reference network, with its standard error.
      delta: Array of shape (sites, activations): metric with that one activation minus `reference_value`. Zero at the
        reference's own activation, NaN where nothing was measured.
      standard_error: Array of the same shape; NaN where it is not known.
      context: How the table came about: device, conditions, design, fit.
      covariance: Covariance of the deltas, shape (sites * activations, sites * activations), row-major; None when the
        errors are independent. A sum of deltas is often known better, or worse, than independent errors would say.
      residual: Standard deviation of whole networks around the sum of their deltas: what does not add up.
    """

    metric: str
    unit: str
    reference: Assignment
    activations: tuple[str, ...]
    reference_value: Estimate
    delta: np.ndarray
    standard_error: np.ndarray
    context: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    covariance: np.ndarray | None = None
    residual: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "activations", tuple(canonical_name(name) for name in self.activations))
        if len(set(self.activations)) < len(self.activations):
            raise InputError(f"Expected different activations in a table. Received: {', '.join(self.activations)}.")
        shape = (len(self.reference), len(self.activations))
        for name in ("delta", "standard_error"):
            if getattr(self, name).shape != shape:
                received = getattr(self, name).shape
                raise InputError(f"Expected {name} of shape {shape}, sites x activations. Received: {received}.")

    @property
    def sites(self) -> tuple[str, ...]:
        """The table's rows."""
        return tuple(self.reference)

    def choices(self, assignment: Mapping[str, str]) -> list[tuple[int, int]]:
        """Returns the (row, column) of every site's activation.

        Raises:
          InputError: The assignment has a site that the table lacks, or an activation the table has no value for.
        """
        self.reference.check_sites(assignment)
        rows = {site: row for row, site in enumerate(self.reference)}
        columns = {name: column for column, name in enumerate(self.activations)}
        cells = []
        for site, name in assignment.items():
            column = columns.get(name)
            if column is None or np.isnan(self.delta[rows[site], column]):
                raise InputError(
                    f"Expected activations that the {self.metric} table has values for. Received: {name!r} at {site!r}."
                )
            cells.append((rows[site], column))
        return cells

    def predict(self, assignment: Mapping[str, str]) -> Estimate:
        """Returns the predicted metric: the reference's value plus the deltas of all sites (ActNAS section 3.3.3).

        Sites that the assignment does not name keep the reference's activation. The standard error is that of the
        difference to the reference.
        """
        cells = self.choices(assignment)
        value = self.reference_value.value + sum(self.delta[cell] for cell in cells)
        if self.covariance is None:
            variance = sum(self.standard_error[cell] ** 2 for cell in cells)
        else:
            flat = [row * len(self.activations) + column for row, column in cells]
            variance = max(self.covariance[np.ix_(flat, flat)].sum(), 0.0)
        if any(self.delta[cell] for cell in cells):
            variance += self.residual**2
        return Estimate(float(value), float(np.sqrt(variance)))

    def to_json(self) -> dict[str, Any]:
        """Returns the table as values that JSON can hold."""
        return {
            "format": FORMAT,
            "metric": self.metric,
            "unit": self.unit,
            "reference": dict(self.reference),
            "activations": list(self.activations),
            "reference_value": _number(self.reference_value.value),
            "reference_error": _number(self.reference_value.standard_error),
            "delta": _numbers(self.delta),
            "standard_error": _numbers(self.standard_error),
            "context": dict(self.context),
            "residual": self.residual,
            "covariance": None if self.covariance is None else _numbers(self.covariance),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], name: str = "the given content") -> MetricTable:
        """Returns the table that `to_json` described.

        Raises:
          InputError: Something is missing, or of another format.
        """
        try:
            if content["format"] != FORMAT:
                raise InputError(
                    f"Expected a metric table of format {FORMAT}. Received: {name}, {content['format']!r}."
                )
            covariance = content.get("covariance")
            return cls(
                metric=content["metric"],
                unit=content["unit"],
                reference=Assignment(content["reference"]),
                activations=tuple(content["activations"]),
                reference_value=Estimate(_float(content["reference_value"]), _float(content["reference_error"])),
                delta=_array(content["delta"]),
                standard_error=_array(content["standard_error"]),
                context=content.get("context", {}),
                covariance=None if covariance is None else _array(covariance),
                residual=float(content["residual"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"Expected a metric table. Received: {name} ({type(error).__name__}: {error}).") from error

    def to_csv(self) -> str:
        """Returns the table as CSV, one line a cell; cells without a value are left out."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_CSV_FIELDS)
        for row, site in enumerate(self.reference):
            for column, activation in enumerate(self.activations):
                delta, error = self.delta[row, column], self.standard_error[row, column]
                if not np.isnan(delta):
                    cells = [
                        f"{self.reference_value.value:.9g}",
                        f"{delta:.9g}",
                        "" if np.isnan(error) else f"{error:.6g}",
                    ]
                    writer.writerow([site, activation, self.metric, self.unit, *cells])
        return text.getvalue()

    @classmethod
    def from_csv(cls, text: str, reference: Assignment, name: str = "the given text") -> MetricTable:
        """Returns the table that `to_csv` wrote, or that a person wrote with the same columns.

        Args:
          text: CSV with the columns site, activation, metric, unit, reference, delta, standard_error.
          reference: The reference network's assignment, which a CSV does not hold.
          name: Where the text came from, for messages.

        Raises:
          InputError: A column is missing, a number is none, a site is not the reference's, or the lines are of more
        than one metric, unit or reference value.
        """
        lines = list(csv.DictReader(io.StringIO(text)))
        missing = [field for field in _CSV_FIELDS[:-1] if not lines or field not in lines[0]]
        if missing:
            raise InputError(
                f"Expected CSV with the columns {', '.join(_CSV_FIELDS)}. Received: {name}, without {missing[0]}."
            )
        for field in ("metric", "unit", "reference"):
            values = {line[field]: None for line in lines}
            if len(values) > 1:
                raise InputError(f"Expected one {field} in {name}. Received: {', '.join(map(str, values))}.")
        reference.check_sites(line["site"] for line in lines)
        activations = tuple(
            dict.fromkeys([*(canonical_name(line["activation"]) for line in lines), *reference.values()])
        )
        rows = {site: row for row, site in enumerate(reference)}
        delta = np.full((len(reference), len(activations)), np.nan)
        error = delta.copy()
        for site, activation in reference.items():
            delta[rows[site], activations.index(activation)] = error[rows[site], activations.index(activation)] = 0.0
        try:
            for line in lines:
                cell = rows[line["site"]], activations.index(canonical_name(line["activation"]))
                delta[cell] = float(line["delta"])
                error[cell] = float(line.get("standard_error") or "nan")
            value = Estimate(float(lines[0]["reference"]))
        except (TypeError, ValueError) as problem:  # A line that is cut off has None for a number.
            raise InputError(f"Expected numbers in {name}. Received: {problem}.") from problem
        return cls(lines[0]["metric"], lines[0]["unit"], reference, activations, value, delta, error)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the table: as CSV when the name ends in .csv, else as JSON."""
        text = self.to_csv() if Path(path).suffix == ".csv" else json.dumps(self.to_json()) + "\n"
        write_atomically(path, text)

    @classmethod
    def load(cls, path: str | os.PathLike[str], reference: Assignment | None = None) -> MetricTable:
        """Reads a table: from CSV when the name ends in .csv, else from JSON.

        Args:
          path: The file.
          reference: The reference network's assignment, which a CSV does not hold.

        Raises:
          InputError: The file cannot be read or holds something else.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"Expected a metric table. Received: {path} ({error}).") from error
        if Path(path).suffix == ".csv":
            if reference is None:
                raise InputError(f"Expected the reference's assignment with a table in CSV. Received: {path} alone.")
            return cls.from_csv(text, reference, str(path))
        try:
            content = json.loads(text)
        except ValueError as error:
            raise InputError(f"Expected a metric table in JSON. Received: {path} ({error}).") from error
        return cls.from_json(content, str(path))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.9g}")


def _numbers(values: np.ndarray) -> list[list[float | None]]:
    return [[_number(value) for value in row] for row in values.tolist()]


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _array(values: list[list[float | None]]) -> np.ndarray:
    return np.array([[_float(value) for value in row] for row in values], np.float64)
