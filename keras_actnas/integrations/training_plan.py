"""What a training run is to make of a network's activations, as values that a checkpoint keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.checks import is_finite
from keras_actnas.core.errors import InputError
from keras_actnas.core.ramps import Ramp


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """Which activations a network gets, and how it comes to them.

    Attributes:
      assignment: The activation of every site.
      before: Those that sites start with which move; empty without a transition.
      ramp: Share of the new activations as a function of the position in the training run, from 0 to 1; None for new
        activations from the start.
    """

    assignment: Assignment
    before: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ramp: Ramp | None = None

    @classmethod
    def make(cls, before: Assignment, requested: Mapping[str, str], transition: Any = None) -> TrainingPlan:
        """Returns the plan for a network.

        Args:
          before: What the network has.
          requested: What it is to get; sites that are left out keep what they have.
          transition: Start and end of the transition as shares of the training run, or None.

        Raises:
          InputError: The request is of another network; the transition is no pair of shares, the second of them not
            below the first; or it would have to start with a PReLU, whose slopes the network would lose.

        >>> TrainingPlan.make(Assignment({"stem": "silu"}), {"stem": "relu"}, (0, 0.5)).ramp.at(0.25)
        0.5
        """
        assignment = before.with_swaps(requested)
        if transition is None:
            return cls(assignment)
        moving = {site: before[site] for site in assignment.swaps(before)}
        slopes = [site for site, name in moving.items() if name == "prelu"]
        if slopes:
            raise InputError(
                f"Expected a transition from activations without weights. Received: prelu at {slopes[0]}; train "
                "without a transition (`--recipe=scratch`), or keep it there."
            )
        return cls(assignment, moving, Ramp(*_shares(transition)))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TrainingPlan | None:
        """Returns the plan that `record` wrote down, or None when there is none."""
        if "before" not in record:
            return None
        ramp = Ramp(*record["transition"]) if record["transition"] else None
        return cls(Assignment(record["assignment"]), record["before"], ramp)

    def record(self, alpha: float) -> dict[str, Any]:
        """Returns the plan, and how far it has come, as values that a checkpoint can hold without this package."""
        return {
            "assignment": dict(self.assignment),
            "before": dict(self.before),
            "transition": [self.ramp.start, self.ramp.end] if self.ramp else None,
            "alpha": alpha if self.ramp else 1.0,
        }


def _shares(transition: Any) -> tuple[float, float]:
    try:
        start, end = transition
    except (TypeError, ValueError):
        start = end = None
    if not (is_finite(start) and is_finite(end) and 0 <= start <= end <= 1):
        raise InputError(
            "Expected the start and end of the transition as shares of the training run, such as (0, 0.75). "
            f"Received: {transition!r}."
        )
    return float(start), float(end)
