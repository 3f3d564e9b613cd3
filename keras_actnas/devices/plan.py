"""A plan: what a device is asked to measure, as one value that can be written to a file and carried there."""

from __future__ import annotations

import dataclasses
import json

from keras_actnas.core.errors import InputError
from keras_actnas.devices.device import Request

FORMAT = 1

END = "end"
"""Key of the last line that a board sends over a connection; its value is what was printed there last."""

DEFAULT_RUNS = 50
"""Timed runs of each candidate in the paper (ActNAS section 3.2)."""

MIN_RUNS = 4


@dataclasses.dataclass(frozen=True)
class Plan:
    """A request with what a board needs to know to carry it out by itself.

    Attributes:
      name: What the model is called.
      request: What to measure; its runs count only where `minutes` is None.
      minutes: Time budget for all of it, which says how many runs, at most 50; None for the request's runs.
      num_threads: Threads of the runtime.
      delegate: "xnnpack" or "none".
      precision: Precision of the network.
    """

    name: str
    request: Request
    minutes: float | None = None
    num_threads: int = 1
    delegate: str = "xnnpack"
    precision: str = "float32"

    def runs(self, reference_ms: float, networks: int) -> int:
        """Returns the timed runs of each candidate.

        Args:
          reference_ms: About how long the reference takes, in ms.
          networks: How many candidates there are left to measure.
        """
        if self.minutes is None:
            return self.request.runs
        return affordable_runs(reference_ms, networks, 60 * self.minutes)

    def dumps(self) -> str:
        """Returns the plan as the text of a file."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        content = {"format": FORMAT, **fields, "request": self.request.to_json()}
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def loads(cls, text: str) -> Plan:
        """Returns the plan that `dumps` wrote.

        Raises:
          InputError: Something is missing, or of another format.
        """
        try:
            fields = json.loads(text)
            if fields.pop("format") != FORMAT:
                raise ValueError(f"not of format {FORMAT}")
            return cls(**{**fields, "request": Request.from_json(fields["request"])})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"Expected a plan of measurements. Received: {type(error).__name__}: {error}.") from error


def affordable_runs(reference_ms: float, networks: int, seconds: float, warmup: int = 2) -> int:
    """Returns how many timed runs each candidate gets so that all of them take about `seconds`.

    Args:
      reference_ms: Latency of the reference in ms; every timed run is one of a candidate and one of the reference.
      networks: How many candidates there are.
      seconds: The budget.
      warmup: Untimed runs of each.

    Returns:
      Between `MIN_RUNS` and the paper's 50 (ActNAS section 3.2).
    """
    runs = 1000 * seconds / max(networks * 2 * reference_ms, 1e-9) - warmup
    return int(min(max(runs, MIN_RUNS), DEFAULT_RUNS))


def measuring_seconds(reference_ms: float, networks: int, runs: int, warmup: int = 2) -> float:
    """Returns about how long it takes to measure networks: every run is one of a candidate and one of the reference.

    Args:
      reference_ms: Latency of the reference in ms.
      networks: How many candidates there are.
      runs: Timed runs of each.
      warmup: Untimed runs of each.
    """
    return networks * 2 * (runs + warmup) * reference_ms / 1000
