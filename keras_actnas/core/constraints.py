"""Constraints on metrics, as a person writes them."""

from __future__ import annotations

import dataclasses
import re

from keras_actnas.core.errors import InputError

_CONSTRAINT = re.compile(
    r"\s*(?P<metric>[a-z_][a-z0-9_]*)\s*(?P<sense><=|>=)\s*"
    r"(?:(?P<percent>[-+]?[0-9.]+(?:e[-+]?\d+)?)\s*%"
    r"|(?P<value>[-+]?[0-9.]+(?:e[-+]?\d+)?)"
    r"|reference(?:\s*(?P<sign>[-+])\s*(?P<offset>[0-9.]+(?:e[-+]?\d+)?)\s*(?P<offset_percent>%)?)?)\s*",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Constraint:
    """A bound on a metric of the whole network: factor * reference + offset.

    Attributes:
      metric: Name of the metric.
      sense: "<=" or ">=".
      factor: Share of the reference's value in the bound.
      offset: What is added, in the metric's unit.

    >>> Constraint.parse("latency<=90%").bound(50.0), Constraint.parse("nwot>=reference-0.5").bound(120.0)
    (45.0, 119.5)
    """

    metric: str
    sense: str
    factor: float
    offset: float

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Returns the constraint that a text says.

        Args:
          text: `METRIC<=BOUND` or `METRIC>=BOUND`. BOUND is a number in the metric's unit (`latency<=24.5`), a share of
            the reference (`latency<=90%`), or the reference with an offset (`nwot>=reference`,
            `nwot>=reference-0.5`, `latency<=reference-10%`).

        Raises:
          InputError: The text has another form.
        """
        match = _CONSTRAINT.fullmatch(text)
        try:
            if match is None:
                raise ValueError
            metric, sense = match["metric"].lower(), match["sense"]
            if match["percent"] is not None:
                return cls(metric, sense, float(match["percent"]) / 100, 0.0)
            if match["value"] is not None:
                return cls(metric, sense, 0.0, float(match["value"]))
            offset = float((match["sign"] or "") + (match["offset"] or "0"))
        except ValueError:
            raise InputError(
                "Expected a constraint such as 'latency<=90%', 'latency<=24.5', 'nwot>=reference' or "
                f"'nwot>=reference-0.5'. Received: {text!r}."
            ) from None
        return cls(metric, sense, 1 + offset / 100, 0.0) if match["offset_percent"] else cls(metric, sense, 1.0, offset)

    def bound(self, reference: float) -> float:
        """Returns the bound in the metric's unit, given the reference network's value."""
        return self.factor * reference + self.offset

    def shortfall(self, value: float, reference: float) -> float:
        """Returns by how much `value` misses the bound, in the metric's unit; 0 where it is kept."""
        bound = self.bound(reference)
        return max(0.0, value - bound if self.sense == "<=" else bound - value)

    def holds(self, value: float, reference: float, tolerance: float = 1e-9) -> bool:
        """Whether `value` keeps the bound, up to a relative rounding error of `tolerance`."""
        return self.shortfall(value, reference) <= tolerance * max(1.0, abs(reference))

    def tightened(self, margin: float) -> Constraint:
        """Returns the constraint with its bound moved by `margin`, in the metric's unit, to the harder side."""
        return dataclasses.replace(self, offset=self.offset + (-margin if self.sense == "<=" else margin))

    def __str__(self) -> str:
        """Returns the constraint as `parse` reads it, if it has a form that `parse` knows."""
        if self.factor == 0:
            bound = f"{self.offset:g}"
        elif self.offset == 0:
            bound = "reference" if self.factor == 1 else f"{100 * self.factor:g}%"
        else:
            share = "" if self.factor == 1 else f"{self.factor:g} x "
            bound = f"{share}reference{self.offset:+g}"
        return f"{self.metric} {self.sense} {bound}"
