"""Objectives: a metric, or a weighted sum of metrics, to make as small or as large as can be."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from keras_actnas.core.errors import InputError

Wanted = str | Mapping[str, float] | None
"""An objective as a person gives it: 'latency', 'latency+0.5*memory', {'latency': 1.0, 'memory': 0.5}, or none."""

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_TERM = re.compile(rf"\s*(?P<sign>[-+])?\s*(?:(?P<weight>{_NUMBER})\s*\*\s*)?(?P<metric>[a-z_]\w*)\s*", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Objective:
    """A weighted sum of metrics that is minimized; what is maximized has its weights negated.

    Attributes:
      weights: Metric -> weight, by which the metric's value in its own unit is multiplied.

    >>> Objective.of("latency + 0.5 * memory").cost({"latency": 10.0, "memory": 4.0})
    12.0
    >>> Objective.of(maximize="nwot").cost({"nwot": 80.0})
    -80.0
    """

    weights: Mapping[str, float]

    @classmethod
    def of(cls, minimize: Wanted = None, maximize: Wanted = None) -> Objective:
        """Returns the objective that is given as one of the two.

        Raises:
          InputError: Both are given, or neither; the text is no sum of metrics; or a weight is 0 or not finite.
        """
        if bool(minimize) == bool(maximize):
            raise InputError(f"Expected one metric to minimize or maximize. Received: {minimize!r} and {maximize!r}.")
        wanted = minimize or maximize
        weights = _parse(wanted) if isinstance(wanted, str) else dict(wanted or {})
        for metric, weight in weights.items():
            if weight == 0 or not math.isfinite(weight):
                raise InputError(f"Expected finite weights other than 0 in an objective. Received: {weight} {metric}.")
        return cls({metric: -weight if maximize else weight for metric, weight in weights.items()})

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that count."""
        return tuple(self.weights)

    def cost(self, values: Mapping[str, Any]) -> Any:
        """Returns the weighted sum of values, or of arrays of values, one for each metric: the less, the better."""
        return sum(weight * values[metric] for metric, weight in self.weights.items())


def _parse(text: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    place = 0
    while place < len(text):
        term = _TERM.match(text, place)
        # Between two terms there has to be a sign.
        if term is None or (weights and not term["sign"]):
            raise InputError(
                f"Expected a metric or a sum of metrics, such as 'latency' or 'latency+0.5*memory'. Received: {text!r}."
            )
        if term["metric"] in weights:
            raise InputError(f"Expected each metric once in an objective. Received: {text!r}.")
        weights[term["metric"]] = float(term["weight"] or 1.0) * (-1.0 if term["sign"] == "-" else 1.0)
        place = term.end()
    return weights
