"""How sure a constraint has to be."""

from __future__ import annotations

import dataclasses
import statistics

from keras_actnas.core.constraints import Constraint
from keras_actnas.core.errors import InputError
from keras_actnas.core.table import Estimate


@dataclasses.dataclass(frozen=True)
class Confidence:
    """How sure constraints have to be: with which probability they hold under the tables' errors.

    Errors are taken as normal, so a bound holds with probability `level` when the prediction keeps away from it by
    `quantile` standard errors of the difference to the reference.
    """

    level: float | None = None

    def __post_init__(self) -> None:
        if self.level is not None and not 0.5 <= self.level < 1:
            raise InputError(f"Expected confidence of at least 0.5 and below 1. Received: {self.level}.")

    @property
    def quantile(self) -> float:
        """How many standard errors a prediction keeps away from a bound."""
        return 0.0 if self.level is None else statistics.NormalDist().inv_cdf(self.level)

    def bounding(self, constraint: Constraint, predicted: Estimate) -> float:
        """Returns the value that the metric does not miss with that probability, on the constraint's side."""
        if not self.quantile:
            return predicted.value
        away = self.quantile * predicted.standard_error
        return predicted.value + (away if constraint.sense == "<=" else -away)
