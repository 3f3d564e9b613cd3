"""The results of the trainings, and what differs between configurations, seed by seed."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_actnas.core import InputError
from keras_actnas.core.stats import student_factor


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the trainings in a file of JSON lines, none if there is no file. A line without an end does not count."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def append(path: Path, training: dict[str, Any]) -> None:
    """Adds a training to a file of JSON lines; half a line at its end, which a killed run leaves behind, is cut off."""
    with path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(training).encode() + b"\n")


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much more accurate some configurations are than others, in percentage points.

    Attributes:
      mean: The mean over seeds.
      error: Its standard error; NaN of one seed.
      seeds: How many seeds there are.
    """

    mean: float
    error: float
    seeds: int

    @property
    def is_significant(self) -> bool:
        """Whether zero is outside of the 95 % interval (Student's t, two-sided)."""
        return self.seeds > 1 and abs(self.mean) > student_factor(self.seeds) * self.error

    def __str__(self) -> str:
        """Returns the difference with its standard error."""
        return f"{self.mean:+.2f} ± {self.error:.2f}"


class Results:
    """The trainings of one network.

    Args:
      network: Its name.
      lines: What `train.py` has written, of any networks.

    Raises:
      InputError: There is none of this network, or they are of several recipes.
    """

    def __init__(self, network: str, lines: Sequence[dict[str, Any]]) -> None:
        own = [line for line in lines if line["recipe"]["network"] == network]
        if not own:
            raise InputError(f"Expected trainings of {network!r}. Received: none; train.py makes them.")
        if any(line["recipe"] != own[0]["recipe"] for line in own):
            raise InputError(f"Expected trainings of one recipe. Received: several of {network!r}; split the file.")
        self.network = network
        self.recipe = own[0]["recipe"]
        self.lines = own
        self._by_name: dict[str, dict[int, dict[str, Any]]] = {}
        for line in own:
            self._by_name.setdefault(line["name"], {})[line["seed"]] = line

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def accuracies(self, name: str) -> list[float]:
        """Returns the accuracies of a configuration in %, by seed."""
        return [100 * line["accuracy"] for _, line in sorted(self._by_name[name].items())]

    def cost(self, name: str) -> tuple[int, int]:
        """Returns the multiply-accumulates and the trainable parameters of a configuration."""
        line = next(iter(self._by_name[name].values()))
        return line["macs"], line["parameters"]

    def difference(self, more: Sequence[str], less: Sequence[str] = ("relu",)) -> Difference | None:
        """Returns how much more accurate the mean of some configurations is than that of others.

        A seed counts if all of them were trained with it: what it gives to all, initial weights and the images' order,
        falls out of the difference.

        Returns:
          The difference; None where no seed counts.
        """
        trained = [set(self._by_name.get(name, ())) for name in (*more, *less)]
        seeds = sorted(set.intersection(*trained))
        if not seeds:
            return None
        first, second = (
            np.mean([[100 * self._by_name[name][seed]["accuracy"] for seed in seeds] for name in names], axis=0)
            for names in (more, less)
        )
        values = first - second
        error = float(values.std(ddof=1)) / math.sqrt(len(seeds)) if len(seeds) > 1 else math.nan
        return Difference(float(values.mean()), error, len(seeds))
