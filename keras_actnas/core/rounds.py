"""What the rounds of a closed loop found: predictions beside measurements, and whether they agree."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.core.proposal import Proposal

NEGLIGIBLE = 0.002
"""Prediction and measurement agree when they are as close as this share of the reference's value, however exact."""


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How the predictions of one metric compare with the measurements of one round.

    Attributes:
      reference: The reference network's value, in the metric's unit.
      unit: The metric's unit.
      error: Root-mean-square difference, in that unit.
      bias: Mean of predicted minus measured: below zero where a solver went for what the table took for too cheap.
      agrees: Whether each difference, and their mean, is within twice its standard error, or negligible.
    """

    reference: float
    unit: str
    error: float
    bias: float
    agrees: bool

    @classmethod
    def of(cls, rows: Sequence[Proposal], metric: str, reference: float, unit: str) -> Agreement:
        """Returns how predictions and measurements of a metric compare.

        Args:
          rows: Proposals with both.
          metric: The metric.
          reference: The reference network's value.
          unit: The metric's unit.
        """
        differences = np.array([row.predicted[metric].value - row.measured[metric].value for row in rows])
        predicted = np.nan_to_num([row.predicted[metric].standard_error for row in rows])
        measured = np.nan_to_num([row.measured[metric].standard_error for row in rows])
        negligible = NEGLIGIBLE * abs(reference)
        each = np.maximum(2 * np.hypot(predicted, measured), negligible)
        # The table's errors are much the same for proposals that are alike: only those of the measurements average out.
        mean = max(2 * math.hypot(predicted.mean(), math.sqrt((measured**2).mean() / len(rows))), negligible)
        bias = float(differences.mean())
        agrees = bool((np.abs(differences) <= each).all() and abs(bias) <= mean)
        return cls(reference, unit, float(np.sqrt((differences**2).mean())), bias, agrees)

    @property
    def scale(self) -> tuple[float, str]:
        """What error and bias are multiplied with to be read, and the sign behind them: percent where possible."""
        return (100 / self.reference, " %") if self.unit and self.reference else (1.0, f" {self.unit}".rstrip())


@dataclasses.dataclass(frozen=True)
class Round:
    """What one round of the loop proposed and found.

    Attributes:
      proposals: The proposals as the tables predicted them before this round's measurements were known to them, and as
        they were measured then, both on the scale of the tables' reference.
      agreement: Metric -> how both compare.
    """

    proposals: tuple[Proposal, ...]
    agreement: Mapping[str, Agreement]

    @property
    def agrees(self) -> bool:
        """Whether predictions and measurements of all metrics agree."""
        return all(one.agrees for one in self.agreement.values())

    def to_json(self) -> dict[str, Any]:
        """Returns the round as values that JSON can hold."""
        agreement = {metric: dataclasses.asdict(one) for metric, one in self.agreement.items()}
        return {"proposals": [row.to_json() for row in self.proposals], "agreement": agreement}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Round:
        """Returns the round that `to_json` described.

        Raises:
          InputError: Something is missing, or of another kind.
        """
        try:
            agreement = {metric: Agreement(**fields) for metric, fields in content["agreement"].items()}
            return cls(tuple(Proposal.from_json(row) for row in content["proposals"]), agreement)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"Expected a round of a loop. Received: {type(error).__name__}: {error}.") from error

    def describe(self) -> str:
        """Returns the round in words."""
        parts = []
        for metric, found in self.agreement.items():
            factor, sign = found.scale
            parts.append(
                f"{metric} of {len(self.proposals)} proposals predicted to {factor * found.error:.2f}{sign} "
                f"(bias {factor * found.bias:+.2f}{sign})"
            )
        return f"{'; '.join(parts)}: {'they agree' if self.agrees else 'the tables learn from it'}"
