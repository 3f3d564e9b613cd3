"""What is assumed about the effects of activations before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.curves import curve_difference

Cell = tuple[str, str]
"""Site and activation."""


class Prior(Protocol):
    """Effects are `features @ theta + deviations @ z`, with theta unknown and z independent standard normal, scaled."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    def features(self, cells: list[Cell], reference: Assignment) -> np.ndarray:
        """Returns the array (cells, features) of what effects have in common."""

    def deviations(self, cells: list[Cell], reference: Assignment) -> np.ndarray:
        """Returns the array (cells, directions) along which single effects differ from that, up to one scale."""


class CostPrior:
    """Costs: an activation costs something for each element of the site and something for each operator.

    The cost per element is free. That per operator is shrunk toward zero together with what single cells deviate by,
    which is independent of all others and grows with the site's size: a constant as large as the deviation at a site
    of mean size is as likely as that deviation, and how large both are is estimated from the data.

    So and not with a free constant, and not with deviations that grow with the root of the size, since it predicts
    networks that are left out better where both were measured (yolov5n, x86, `benchmarks/latency_table.py`): a constant
    of each activation is worth little there, and costs as many networks to tell as the cost per element.

    Args:
      size: Site -> number of elements.

    >>> from keras_actnas.core import Assignment
    >>> reference = Assignment({"a": "silu", "b": "silu"})
    >>> prior = CostPrior({"a": 300.0, "b": 100.0})
    >>> prior.features([("a", "relu"), ("b", "relu")], reference).tolist()  # ReLU comes, SiLU goes.
    [[1.5, -1.5], [0.5, -0.5]]
    """

    name = "cost per element and per operator"

    def __init__(self, size: Mapping[str, float]) -> None:
        self._relative = relative_sizes(size)

    def features(self, cells: list[Cell], reference: Assignment) -> np.ndarray:
        """Returns, for every activation, the site's relative size: gained by it, lost by the old one."""
        return self._sizes(cells)[:, None] * _exchanges(cells, reference)

    def deviations(self, cells: list[Cell], reference: Assignment) -> np.ndarray:
        """Returns one direction a cell, and one an activation: what an operator costs wherever it is."""
        return np.hstack([np.diag(self._sizes(cells)), _exchanges(cells, reference)])

    def _sizes(self, cells: list[Cell]) -> np.ndarray:
        return np.array([self._relative[site] for site, _ in cells])


class CurvePrior:
    """Scores: activations whose curves differ from the reference's in the same way have the same effect at a site.

    ReLU and ReLU6, which are the same for nearly every input, can then hardly come out different, and hard-swish, which
    is close to SiLU, has small effects there. The covariance of two activations' effects at one site is taken to be
    proportional to E[(f_a - f_ref)(f_b - f_ref)] under a standard normal input.
    """

    name = "likeness of the activations' curves"

    def features(self, cells: list[Cell], reference: Assignment) -> np.ndarray:
        """Returns, for every activation, a constant: gained by it, lost by the old one."""
        return _exchanges(cells, reference)

    def deviations(self, cells: list[Cell], reference: Assignment) -> np.ndarray:
        """Returns, for every site, the directions in which its activations' effects vary together."""
        matrix = np.zeros((len(cells), len(cells)))
        for site in dict.fromkeys(site for site, _ in cells):
            rows = [row for row, cell in enumerate(cells) if cell[0] == site]
            likeness = curve_difference([cells[row][1] for row in rows], reference[site])
            values, vectors = np.linalg.eigh(likeness)
            matrix[np.ix_(rows, rows)] = vectors * np.sqrt(np.maximum(values, 0.0))
        return matrix


class LossPrior(CurvePrior):
    """Losses of trained networks: as `CurvePrior`, but everything in proportion to a site's elements.

    An activation at a site with many elements does more to what a network can be trained to than at a small one. Where
    each site counts alike, the fit to a detector's fine-tunings, whose sites differ by a factor of 64 in size, takes
    the difference for something that a solver can profit from (docs/evidence.md).

    Args:
      size: Site -> number of elements.
    """

    name = "likeness of the activations' curves, per element"

    def __init__(self, size: Mapping[str, float]) -> None:
        self._relative = relative_sizes(size)

    def features(self, cells: list[Cell], reference: Assignment) -> np.ndarray:
        """Returns, for every activation, the site's relative size: gained by it, lost by the old one."""
        return self._sizes(cells) * super().features(cells, reference)

    def deviations(self, cells: list[Cell], reference: Assignment) -> np.ndarray:
        """Returns, for every site, the directions in which its activations' effects vary together, times its size."""
        return self._sizes(cells) * super().deviations(cells, reference)

    def _sizes(self, cells: list[Cell]) -> np.ndarray:
        return np.array([[self._relative[site]] for site, _ in cells])


def relative_sizes(size: Mapping[str, float]) -> dict[str, float]:
    """Returns the sizes over their mean."""
    mean = float(np.mean(list(size.values()))) or 1.0
    return {site: value / mean for site, value in size.items()}


def _exchanges(cells: list[Cell], reference: Assignment) -> np.ndarray:
    """Returns the array (cells, activations): +1 for the activation that comes, -1 for the reference's, which goes."""
    used = list(dict.fromkeys([*(name for _, name in cells), *(reference[site] for site, _ in cells)]))
    identity = np.eye(len(used))
    return np.array([identity[used.index(name)] - identity[used.index(reference[site])] for site, name in cells])
