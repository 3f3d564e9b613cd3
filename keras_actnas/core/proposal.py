"""Proposals: assignments with what was predicted of them and what was measured."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.constraints import Constraint
from keras_actnas.core.errors import InputError
from keras_actnas.core.files import write_atomically
from keras_actnas.core.table import Estimate


@dataclasses.dataclass(frozen=True)
class Proposal:
    """An assignment with its predicted and, once verified, measured metrics.

    Attributes:
      name: Short name, such as "ilp-1" or "reference".
      assignment: The assignment.
      predicted: Metric -> value that the tables predict.
      measured: Metric -> value that was measured on the built network; empty before verification.
      status: What the solver can say: "optimal" (proven), "feasible" (found, not proven), or "given".
    """

    name: str
    assignment: Assignment
    predicted: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)
    measured: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)
    status: str = "given"

    def standing(self, constraint: Constraint, reference: Proposal) -> str:
        """Returns how the measured metric stands to a constraint: "kept", "within its error", or "broken".

        A value that misses the bound by less than twice its standard error cannot be told from one that keeps it. What
        was not measured is "not measured".
        """
        if constraint.metric not in self.measured or constraint.metric not in reference.measured:
            return "not measured"
        value, own = self.measured[constraint.metric], reference.measured[constraint.metric].value
        if constraint.holds(value.value, own):
            return "kept"
        clear = math.isnan(value.standard_error) or constraint.shortfall(value.value, own) > 2 * value.standard_error
        return "broken" if clear else "within its error"

    def to_json(self) -> dict[str, Any]:
        """Returns the proposal as values that JSON can hold."""
        return {
            "name": self.name,
            "status": self.status,
            "assignment": dict(self.assignment),
            "predicted": {metric: _estimate(value) for metric, value in self.predicted.items()},
            "measured": {metric: _estimate(value) for metric, value in self.measured.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Proposal:
        """Returns the proposal that `to_json` described."""
        predicted, measured = (
            {metric: Estimate(value["value"], _nan(value["standard_error"])) for metric, value in content[kind].items()}
            for kind in ("predicted", "measured")
        )
        return cls(content["name"], Assignment(content["assignment"]), predicted, measured, content["status"])


def save_proposals(path: str | os.PathLike[str], proposals: list[Proposal], context: Mapping[str, Any]) -> None:
    """Writes proposals as JSON, the best first, with the `context` that they came from (objective, constraints)."""
    content = {"format": 1, **context, "proposals": [proposal.to_json() for proposal in proposals]}
    write_atomically(path, json.dumps(content, indent=1) + "\n")


def read_proposals(path: str | os.PathLike[str]) -> tuple[list[Proposal], dict[str, Any]]:
    """Reads the proposals that `save_proposals` wrote, and the context that they came from.

    Raises:
      InputError: The file cannot be read or holds something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        proposals = [Proposal.from_json(item) for item in content["proposals"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"Expected a proposals.json. Received: {path} ({type(error).__name__}: {error}).") from error
    return proposals, {key: value for key, value in content.items() if key != "proposals"}


def load_proposals(path: str | os.PathLike[str]) -> list[Proposal]:
    """Reads the proposals that `save_proposals` wrote, without their context; raises `InputError` likewise."""
    return read_proposals(path)[0]


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    error = estimate.standard_error
    return {"value": estimate.value, "standard_error": None if math.isnan(error) else error}


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
