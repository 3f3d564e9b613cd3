"""Scaling a ConvNeXt to a budget by NN-Mass, without training and without building a model."""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np

from keras_actnas.core.checks import is_finite, is_whole
from keras_actnas.core.errors import InputError
from keras_actnas.layers.partial_activation import nearest
from keras_actnas.models.convnext_config import ConvNeXtConfig
from keras_actnas.search.topology import nn_mass

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class ScaledNetwork:
    """A scaled network.

    Attributes:
      config: Its structure.
      width_multiplier: By what the widths of the base were multiplied.
      depth_multiplier: By what its depths were.
      macs: Multiply-accumulates for one image.
      parameters: Number of parameters.
      nn_mass: NN-Mass.
    """

    config: ConvNeXtConfig
    width_multiplier: float
    depth_multiplier: float
    macs: int
    parameters: int
    nn_mass: float

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return self.config.widths

    @property
    def depths(self) -> tuple[int, ...]:
        """Number of blocks of each stage."""
        return self.config.depths

    def build(self, **options: Any) -> Any:
        """Returns the network as a Keras model with random weights.

        Args:
          **options: More arguments of `models.ConvNeXt`, such as `drop_path`; or other values of those that it has.
        """
        from keras_actnas.models.convnext import ConvNeXt

        return ConvNeXt(**{**dataclasses.asdict(self.config), **options})

    def __str__(self) -> str:
        """Returns one line that tells what the network is and costs."""
        return (
            f"widths {list(self.widths)}, depths {list(self.depths)}: NN-Mass {self.nn_mass:,.0f}, "
            f"{self.macs:,} MACs, {self.parameters:,} parameters"
        )


@dataclasses.dataclass(frozen=True)
class _Budget:
    """Upper bounds, at least one of them."""

    macs: float | None
    params: float | None

    def used(self, network: ScaledNetwork) -> float:
        """Returns the share of the budget that a network uses: the larger one of two."""
        pairs = ((network.macs, self.macs), (network.parameters, self.params))
        return max(cost / bound for cost, bound in pairs if bound is not None)

    def __str__(self) -> str:
        named = {"macs": self.macs, "params": self.params}
        return ", ".join(f"{name}={bound:,.0f}" for name, bound in named.items() if bound is not None)


@overload
def scale(
    base: ConvNeXtConfig,
    macs: float | None = None,
    params: float | None = None,
    widths: Range = ...,
    depths: Range = ...,
    samples: int | None = ...,
    tolerance: float = ...,
    top_k: int = ...,
    seed: int = ...,
) -> list[ScaledNetwork]: ...
@overload
def scale(
    base: ConvNeXtConfig,
    macs: Sequence[float] | None = None,
    params: Sequence[float] | None = None,
    widths: Range = ...,
    depths: Range = ...,
    samples: int | None = ...,
    tolerance: float = ...,
    top_k: int = ...,
    seed: int = ...,
) -> list[list[ScaledNetwork]]: ...
def scale(
    base: ConvNeXtConfig,
    macs: Any = None,
    params: Any = None,
    widths: Range = (0.25, 1.6),
    depths: Range = (0.6, 2.56),
    samples: int | None = None,
    tolerance: float = 0.05,
    top_k: int = 5,
    seed: int = 0,
) -> Any:
    """Returns the networks of highest NN-Mass that fit a budget, best first.

    From Bhardwaj et al., "Restructurable Activation Networks" (2022), section 3.3: the base's widths and depths are
    multiplied by one number each, rounded to the nearest integer (which gives the networks of table 7), and of the
    networks that fit the one with the highest NN-Mass is the one to train. Everything is counted, nothing is built.

    At equal cost NN-Mass grows with the depth: `depths` decides how deep the best network is, and how thin. It is a
    good guide only while networks are wide enough (corollary 1); the paper's have depth multipliers of 1.65 and 2.3.
    So the answer holds one network for each depth, the widest that fits, and shows what a bound on depth costs.

    Args:
      base: The network to scale; `ConvNeXtConfig()` is the paper's, ConvNeXt-T.
      macs: Upper bound of the multiply-accumulates for one image, as `ConvNeXtConfig.macs` counts them. For several
        budgets, one for each.
      params: Upper bound of the parameters; one of `macs` and `params` may be None. As many as `macs`.
      widths: Smallest and largest width multiplier.
      depths: Smallest and largest depth multiplier.
      samples: How many pairs of multipliers are drawn, uniformly; the paper draws 800. None finds the best of all
        networks in the ranges, and costs no more: at each depth, cost and NN-Mass grow with the width, so bisection
        finds the widest network that fits.
      tolerance: The share of the budget that may stay unused. With two bounds, of the one that is used more.
      top_k: How many networks are returned at most, for each budget.
      seed: Seed of the drawing.

    Returns:
      A list of networks; for several budgets a list of such lists.

    Raises:
      InputError: An argument cannot be used; or nothing fits a budget: the message says what is closest.

    >>> best = scale(ConvNeXtConfig(), macs=4.5e9, params=28e6)[0]
    >>> best.widths, best.depths
    ((60, 120, 239, 478), (8, 8, 23, 8))
    """
    _check(base, widths, depths, samples, tolerance, top_k, seed)
    budgets, several = _budgets(macs, params)
    drawn = [] if samples is None else _drawn(base, widths, depths, samples, seed)
    answers = []
    for budget in budgets:
        pool = _nearby(base, widths, depths, budget) if samples is None else drawn
        fitting = [network for network in pool if 1 - tolerance <= budget.used(network) <= 1]
        if not fitting:
            raise InputError(_explain(budget, pool, tolerance))
        answers.append(_widest(fitting)[:top_k])
    return answers if several else answers[0]


def _scaled(base: ConvNeXtConfig, width: float, depth: float) -> ScaledNetwork:
    config = dataclasses.replace(
        base,
        widths=tuple(max(1, nearest(width * size)) for size in base.widths),
        depths=tuple(max(1, nearest(depth * number)) for number in base.depths),
    )
    return ScaledNetwork(config, width, depth, config.macs(), config.parameters(), nn_mass(config))


def _drawn(base: ConvNeXtConfig, widths: Range, depths: Range, samples: int, seed: int) -> list[ScaledNetwork]:
    """Returns the networks of random multipliers."""
    random = np.random.default_rng(seed)
    pairs = random.uniform([widths[0], depths[0]], [widths[1], depths[1]], (samples, 2)).tolist()
    return [_scaled(base, width, depth) for width, depth in pairs]


def _nearby(base: ConvNeXtConfig, widths: Range, depths: Range, budget: _Budget) -> list[ScaledNetwork]:
    """Returns, for each depth in the range, the widest network within a budget and the narrowest beyond it."""
    steps, found = _steps(base.widths, widths), []
    for depth in _steps(base.depths, depths):

        def used(width: float, depth: float = depth) -> float:
            return budget.used(_scaled(base, width, depth))

        first = bisect.bisect_right(steps, 1.0, key=used)
        found += [_scaled(base, width, depth) for width in steps[max(first - 1, 0) : first + 1]]
    return found


def _steps(sizes: Sequence[int], limits: Range) -> list[float]:
    """Returns one multiplier, rising, for each different result of multiplying and rounding the sizes."""
    low, high = limits
    changes = {
        (number + 0.5) / size for size in sizes for number in range(math.floor(low * size), math.ceil(high * size) + 1)
    }
    edges = [low, *sorted(change for change in changes if low < change < high), high]
    return [(left + right) / 2 for left, right in zip(edges, edges[1:], strict=False)]


def _widest(networks: Iterable[ScaledNetwork]) -> list[ScaledNetwork]:
    """Returns the best network of each depth, best first."""
    best: dict[tuple[int, ...], ScaledNetwork] = {}
    for network in networks:
        other = best.setdefault(network.depths, network)
        if network.nn_mass > other.nn_mass:
            best[network.depths] = network
    return sorted(best.values(), key=lambda network: (-network.nn_mass, network.macs))


def _explain(budget: _Budget, pool: Sequence[ScaledNetwork], tolerance: float) -> str:
    closest = min(pool, key=lambda network: abs(math.log(budget.used(network))))
    return (
        f"Expected a budget that a network of the given ranges keeps and uses to {1 - tolerance:.0%} at least. "
        f"Received: {budget}. The closest has {closest}; change the budget, `widths`, `depths`, `tolerance` or "
        "`samples`."
    )


def _budgets(macs: Any, params: Any) -> tuple[list[_Budget], bool]:
    """Returns the budgets, and whether they were given as sequences."""
    given = [bounds for bounds in (macs, params) if bounds is not None]
    several = any(np.ndim(bounds) for bounds in given)
    sizes = {np.size(bounds) for bounds in given}
    if any(np.ndim(bounds) != int(several) for bounds in given) or len(sizes) != 1 or 0 in sizes:
        raise InputError(
            "Expected `macs`, `params` or both: two numbers, or two sequences of one length. "
            f"Received: macs={macs!r}, params={params!r}."
        )
    for bound in (number for bounds in given for number in np.atleast_1d(bounds).tolist()):
        if not is_finite(bound) or bound <= 0:
            raise InputError(f"Expected budgets to be numbers above 0. Received: {bound!r}.")
    number = np.size(given[0])
    columns = [[None] * number if bounds is None else np.atleast_1d(bounds).tolist() for bounds in (macs, params)]
    return [_Budget(*pair) for pair in zip(*columns, strict=True)], several


def _check(base: Any, widths: Any, depths: Any, samples: Any, tolerance: Any, top_k: Any, seed: Any) -> None:
    if not isinstance(base, ConvNeXtConfig):
        raise InputError(f"Expected base to be a ConvNeXtConfig, such as `ConvNeXtConfig()`. Received: {base!r}.")
    for name, limits in (("widths", widths), ("depths", depths)):
        if np.shape(limits) != (2,) or not all(map(is_finite, limits)) or not 0 < limits[0] < limits[1]:
            raise InputError(
                f"Expected {name} as the smallest and the largest multiplier, such as (0.5, 2). Received: {limits!r}."
            )
    for name, number, least in (("samples", samples, 1), ("top_k", top_k, 1), ("seed", seed, 0)):
        if not (is_whole(number) and number >= least) and (name != "samples" or number is not None):
            raise InputError(f"Expected {name} to be an integer of at least {least}. Received: {number!r}.")
    if not is_finite(tolerance) or not 0 < tolerance < 1:
        raise InputError(f"Expected tolerance to be a number between 0 and 1. Received: {tolerance!r}.")
