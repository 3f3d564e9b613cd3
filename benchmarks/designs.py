"""Designs: the variance of each effect, divided by that of the same number of networks in a perfectly orthogonal plan.

  python benchmarks/designs.py
  python benchmarks/designs.py --networks 276 345 414 552 --noise 0.2 --interaction 0.2 --deviation 0.14

Every network is measured as a difference to the reference: the effects of its activations, plus noise of the
measurement and what does not add up, independent from network to network. With sites x (levels - 1) effects:

- least_squares: effects free, intercept known (the reference is measured beside each) or fitted;
- mixed_model: the cost prior with known variances, intercept known, as `search.regression.mixed_model` has it.

The bound is the same estimate from the Gram matrix of a balanced plan in which every pair of sites is orthogonal: each
activation occurs in N / L networks, each pair of activations at two sites in N / L^2. With a fitted intercept it is
known in closed form: the effect of an activation is the difference of two means over N / L networks each, whose
variances add up to 2 L sigma^2 / N; networks in which other sites differ cannot lower it, as the Schur complement of a
site's block is never above that block, and they do not raise it when sites are orthogonal. (A plan that favours the
reference's level lowers these contrasts and raises those between other activations; it is not considered.) A known
intercept lowers it by L / (2 (1 + S (L - 1))), below 1 % at 69 sites. At N <= S (L - 1) no such plan exists: a matrix
of rank N cannot be that Gram matrix, and the bound is not attained by anything.

Noise, interaction and deviation are in percent of the reference's latency. The defaults are from yolov5n at 320 px on
one thread of an AMD EPYC (40 held-out networks): standard error 0.20, error of sums of effects beyond it 0.22, spread
of networks 1.19, that is sqrt((1.19^2 - 0.30^2) / 69) = 0.14 a cell. Least squares' ratios do not depend on them.
One JSON line for each design, number of networks and model; "simulated" is the mean squared error of simulated fits
over the mean bound, where mean, p95 and max are exact variances over bounds.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from keras_actnas.core import Assignment
from keras_actnas.search.orthogonal_arrays import orthogonal_columns
from keras_actnas.search.priors import CostPrior

DESIGNS = ("single_swaps", "mixtures", "orthogonal")


def plan(design: str, sites: int, levels: int, networks: int, seed: int) -> np.ndarray:
    """Returns the levels of every network, shape (networks, sites); level 0 is the reference's own."""
    if design != "single_swaps":
        return orthogonal_columns([levels] * sites, networks, seed, **({"passes": 0} if design == "mixtures" else {}))
    rows = np.zeros((networks, sites), int)
    cells = np.arange(networks) % (sites * (levels - 1))  # Repeated from the start where there are more networks.
    rows[np.arange(networks), cells // (levels - 1)] = 1 + cells % (levels - 1)
    return rows


def incidence(rows: np.ndarray, levels: int) -> np.ndarray:
    """Returns which effect counts in which network, shape (networks, 1 + effects); the first is the intercept."""
    cells = (rows[:, :, None] == np.arange(1, levels)).reshape(len(rows), -1)
    return np.hstack([np.ones((len(rows), 1)), cells])


def ideal_gram(sites: int, levels: int, networks: int) -> np.ndarray:
    """Returns the Gram matrix of the incidence of a perfectly orthogonal plan."""
    other = levels - 1
    gram = np.full((1 + sites * other,) * 2, networks / levels**2)
    gram[1:, 1:] -= np.kron(np.eye(sites), np.full((other, other), networks / levels**2))
    gram[1:, 1:] += np.eye(sites * other) * networks / levels
    gram[0] = gram[:, 0] = networks / levels
    gram[0, 0] = networks
    return gram


def prior_covariance(sites: int, levels: int, deviation: float) -> np.ndarray:
    """Returns the covariance of the effects under the cost prior, with sizes that halve seven times over the sites."""
    names = [f"level{number}" for number in range(levels)]
    reference = Assignment.uniform([f"site{number}" for number in range(sites)], "silu")
    cells = [(site, name) for site in reference for name in names[1:]]
    prior = CostPrior(dict(zip(reference, 2.0 ** -np.linspace(0, 7, sites), strict=True)))
    features, deviations = prior.features(cells, reference), prior.deviations(cells, reference)
    # What is common to cells is not known beforehand: a variance that no data come near.
    return deviation**2 * (deviations @ deviations.T + 1e4 * features @ features.T)


def report(design: str, model: str, x: np.ndarray, gram: np.ndarray, prior: np.ndarray | None, options) -> None:
    """Prints the ratios of one design under one model; "mean": null where the effects cannot be told apart."""
    variance = options.noise**2 + options.interaction**2
    precision = 0.0 if prior is None else np.linalg.inv(prior)
    effects = slice(-options.sites * (options.levels - 1), None)
    line = {"design": design, "networks": len(x), "model": model, "mean": None, "p95": None, "max": None}
    bound = np.diag(np.linalg.inv(gram / variance + precision))[effects]
    information = x.T @ x / variance + precision
    if np.linalg.cond(information) < 1e12:
        covariance = np.linalg.inv(information)
        ratios = np.diag(covariance)[effects] / bound
        rng = np.random.default_rng(options.seed)
        root = np.eye(x.shape[1]) if prior is None else np.linalg.cholesky(prior)
        truth = root @ rng.standard_normal((x.shape[1], options.simulations))
        noise = np.sqrt(variance) * rng.standard_normal((len(x), options.simulations))
        error = covariance @ (x.T @ (x @ truth + noise)) / variance - truth
        simulated = np.mean(error[effects] ** 2) / bound.mean()
        line |= {"mean": ratios.mean(), "p95": np.percentile(ratios, 95), "max": ratios.max(), "simulated": simulated}
        line["within_1.3"] = np.mean(ratios <= 1.3)
    print(json.dumps({key: round(float(v), 4) if isinstance(v, float) else v for key, v in line.items()}), flush=True)


def main() -> None:
    """Prints a line for each design, number of networks and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=69, help="default: %(default)s")
    parser.add_argument("--levels", type=int, default=5, help="activations a site (default: %(default)s)")
    parser.add_argument("--networks", type=int, nargs="+", default=[150, 276, 345, 414, 552, 828, 1380])
    parser.add_argument("--noise", type=float, default=0.2, help="of a measured network, %% (default: %(default)s)")
    parser.add_argument("--interaction", type=float, default=0.2, help="what does not add up (default: %(default)s)")
    parser.add_argument("--deviation", type=float, default=0.14, help="of a cell, prior (default: %(default)s)")
    parser.add_argument("--simulations", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args()
    prior = prior_covariance(options.sites, options.levels, options.deviation)
    for networks in options.networks:
        gram = ideal_gram(options.sites, options.levels, networks)
        for design in DESIGNS:
            x = incidence(plan(design, options.sites, options.levels, networks, options.seed), options.levels)
            report(design, "least_squares, fitted intercept", x, gram, None, options)
            report(design, "least_squares, known intercept", x[:, 1:], gram[1:, 1:], None, options)
            report(design, "mixed_model", x[:, 1:], gram[1:, 1:], prior, options)


if __name__ == "__main__":
    main()
