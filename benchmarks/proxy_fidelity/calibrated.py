"""Predictors calibrated by trainings: effects of activation, depth and width, by the package's mixed model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from predictors import Shapes, chosen, depths, elements
from trainings import Trainings

from keras_actnas.core import CANDIDATES, Assignment
from keras_actnas.search.mixed_model import mixed_model
from keras_actnas.search.priors import Cell, CurvePrior, LossPrior, Prior
from keras_actnas.search.regression import Effects

REFERENCE = "silu"


class DepthPrior(CurvePrior):
    """Effects of an activation that depend on a site's depth and width, and deviations as `CurvePrior` has them.

    Depth runs from -1 at the input to 1; width is the binary logarithm of the channels, over the network's mean. Both
    mean the same in every network, so that a fit to one says something of another.

    Args:
      shapes: Site -> shape, of all sites there are cells of.
    """

    def __init__(self, shapes: Shapes) -> None:
        self._terms = {
            site: [1.0, 2 * depth - 1, width]
            for site, depth, width in zip(shapes, depths(shapes), _widths(shapes), strict=True)
        }

    def features(self, cells: list[Cell], reference: Assignment) -> np.ndarray:
        """Returns, for every activation, the site's terms."""
        names = [name for name in CANDIDATES if name != REFERENCE]
        return np.array([np.kron([name == other for other in names], self._terms[site]) for site, name in cells])


def _per_element(shapes: Shapes) -> LossPrior:
    return LossPrior(dict(zip(shapes, elements(shapes), strict=True)))


PRIORS: dict[str, Callable[[Shapes], Prior]] = {
    "activation": lambda shapes: CurvePrior(),
    "activation, per element": _per_element,
    "activation, depth, width": DepthPrior,
}
"""What effects have in common -> prior of a network's sites; the second is that of a search by `fine_tuned`."""


def _widths(shapes: Shapes) -> np.ndarray:
    channels = np.log2([shape[-1] for shape in shapes.values()])
    return channels - channels.mean()


def left_out(
    assignments: Sequence[Assignment], shapes: Shapes, values: np.ndarray, errors: np.ndarray, prior: Prior
) -> np.ndarray:
    """Returns what the mixed model predicts of each assignment from all others.

    How large deviations are is estimated from all of them, the one that is left out included.

    Args:
      assignments: The trained assignments.
      shapes: Site -> shape.
      values: Their trained accuracy, or whatever was trained for.
      errors: Its standard errors; NaN where they are not known.
      prior: What effects have in common.
    """
    return values - _fitted(*_cells(assignments, shapes), shapes, values, errors, prior).left_out


def predicted(
    trained: Trainings, values: np.ndarray, assignments: Sequence[Assignment], shapes: Shapes, prior: Prior
) -> np.ndarray:
    """Returns what the mixed model, fitted to trained assignments, predicts of others, up to a constant.

    Args:
      trained: The trained assignments.
      values: What they were trained to, shape (trained assignments,); its noise is estimated.
      assignments: The others.
      shapes: Site -> shape.
      prior: What effects have in common.
    """
    cells, incidence = _cells([*trained.assignments, *assignments], shapes)
    count = len(values)
    fit = _fitted(cells, incidence[:count], shapes, values, np.full(count, np.nan), prior)
    return incidence[count:] @ fit.values[1:]


def transferred(
    trained: tuple[Sequence[Assignment], Shapes, np.ndarray, np.ndarray],
    assignments: Sequence[Assignment],
    shapes: Shapes,
    make_prior: Callable[[Shapes], Prior],
) -> np.ndarray:
    """Returns what the fit to one network's trainings predicts of another's assignments, up to a constant.

    Deviations of single sites stay with the network that they were fitted to; what activation, depth and width have in
    common is carried over.

    Args:
      trained: Assignments, shapes, values and errors of the network with trainings.
      assignments: Assignments of the other network.
      shapes: Shapes of the other network's sites.
      make_prior: What effects have in common, in a network with sites of these shapes.
    """
    known, own, values, errors = trained
    cells, incidence = _cells(known, own)
    others, incidence_of_others = _cells(assignments, shapes)
    prior, reference = make_prior(own), Assignment.uniform(own, REFERENCE)
    there = Assignment.uniform(shapes, REFERENCE)
    features = np.vstack([prior.features(cells, reference), make_prior(shapes).features(others, there)])
    deviations = np.vstack([prior.deviations(cells, reference), np.zeros((len(others), len(cells)))])
    fit = mixed_model(
        np.hstack([np.ones((len(values), 1)), incidence, np.zeros((len(values), len(others)))]),
        _with_constant(features),
        np.vstack([np.zeros(len(cells)), deviations]),
        values - values.mean(),
        errors,
        "accuracy",
    )
    return incidence_of_others @ fit.values[1 + len(cells) :]


def _fitted(
    cells: list[Cell], incidence: np.ndarray, shapes: Shapes, values: np.ndarray, errors: np.ndarray, prior: Prior
) -> Effects:
    """Returns the mixed model's effects: that of the reference network first, then those of the cells."""
    reference = Assignment.uniform(shapes, REFERENCE)
    features, deviations = prior.features(cells, reference), prior.deviations(cells, reference)
    return mixed_model(
        np.hstack([np.ones((len(values), 1)), incidence]),
        _with_constant(features),
        np.vstack([np.zeros(deviations.shape[1]), deviations]),
        values - values.mean(),
        errors,
        "accuracy",
    )


def _cells(assignments: Sequence[Assignment], shapes: Shapes) -> tuple[list[Cell], np.ndarray]:
    """Returns every (site, activation) but the reference's, and 1 where an assignment has it."""
    names = [name for name in CANDIDATES if name != REFERENCE]
    columns = [CANDIDATES.index(name) for name in names]
    incidence = chosen(assignments, shapes)[:, :, columns].reshape(len(assignments), -1)
    return [(site, name) for site in shapes for name in names], incidence


def _with_constant(features: np.ndarray) -> np.ndarray:
    """Returns features with one of its own for the reference network's value, which has noise as well."""
    rows, columns = features.shape
    framed = np.zeros((rows + 1, columns + 1))
    framed[0, 0], framed[1:, 1:] = 1.0, features
    return framed
