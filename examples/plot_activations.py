"""Plots the activations of this package and their first derivatives, and checks the bounds of ACON's derivatives.

  python examples/plot_activations.py

Values come from calling the layers, derivatives from the backend's automatic differentiation of the layers. For ACON,
dashed lines are the limits of the derivative, equation (6) of Ma, Zhang, Sun, "Activate or Not" (2021), dotted lines
its bounds, equation (8), and dots the two places where the second derivative is zero, equation (7).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_actnas.core import InputError, MissingDependencyError
from keras_actnas.layers import ACONA, ACONB, ACONC, StochasticPEA, WeightedPEA

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
EXTREME = 2.39936
"""Where the second derivative is zero, as |y| with y = (p1 - p2) beta x."""

OVERSHOOT = 0.0998
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
GRID = np.linspace(-60, 60, 24001)


@dataclasses.dataclass(frozen=True)
class Curve:
    """An ACON layer with fixed parameters; ACON-A and ACON-B are ACON-C with p1 = 1, and p2 = 0 or p."""

    name: str
    label: str
    beta: float
    p1: float = 1.0
    p2: float = 0.0

    @property
    def layer(self) -> keras.Layer:
        """A new layer."""
        beta = constant(self.beta)
        if self.name == "ACON-A":
            return ACONA(beta_initializer=beta)
        if self.name == "ACON-B":
            return ACONB(p_initializer=constant(self.p2), beta_initializer=beta)
        return ACONC(p1_initializer=constant(self.p1), p2_initializer=constant(self.p2), beta_initializer=beta)

    @property
    def limits(self) -> tuple[float, float]:
        """Limits of the derivative on the left and on the right, equation (6), for beta > 0."""
        return min(self.p1, self.p2), max(self.p1, self.p2)

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest derivative, equation (8), for beta > 0."""
        low, high = self.limits
        return (1 + OVERSHOOT) * low - OVERSHOOT * high, (1 + OVERSHOOT) * high - OVERSHOOT * low

    @property
    def extremes(self) -> np.ndarray:
        """Where the second derivative is zero, equation (7): on the left, and on the right."""
        place = EXTREME / (abs(self.p1 - self.p2) * self.beta)
        return np.array([-place, place])


def constant(value: float) -> keras.initializers.Initializer:
    """Returns an initializer that gives one value."""
    return keras.initializers.Constant(value)


def evaluate(layer: keras.Layer, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Returns a layer's values at numbers, and its derivatives there, of one and the same call."""
    inputs = keras.ops.convert_to_tensor(x[:, None], "float32")
    if not layer.built:
        layer.build(inputs.shape)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=training)
        slopes = tape.gradient(outputs, inputs)
    elif backend == "jax":
        import jax

        outputs, pull_back = jax.vjp(lambda values: layer(values, training=training), inputs)
        (slopes,) = pull_back(keras.ops.ones_like(outputs))
    elif backend == "torch":
        import torch

        inputs.requires_grad_(True)
        outputs = layer(inputs, training=training)
        (slopes,) = torch.autograd.grad(outputs.sum(), inputs)
    else:
        raise InputError(f"Expected the tensorflow, jax or torch backend. Received: {backend!r}.")
    return tuple(keras.ops.convert_to_numpy(values)[:, 0] for values in (outputs, slopes))


def new_figure(width: float, height: float) -> Any:
    """Returns an empty matplotlib figure, which needs no screen."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "report", "Drawing the plots") from error
    return Figure(figsize=(width, height), layout="constrained")


def finish(figure: Any, path: Path, entries: Sequence[tuple[Any, Any]] = ()) -> None:
    """Puts grids, labels and legends into a figure and saves it; `entries` are a legend of the whole figure."""
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        axes.set_xlabel("x")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    if entries:
        handles, labels = zip(*entries, strict=True)
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    figure.savefig(path, dpi=150)


def draw_values(axes: Any, curves: Sequence[Curve], x: np.ndarray) -> None:
    """Draws activations."""
    for curve, color in zip(curves, COLORS, strict=False):
        axes.plot(x, evaluate(curve.layer, x)[0], color=color, label=curve.label)


def draw_slopes(axes: Any, curves: Sequence[Curve], x: np.ndarray, labels: bool = False) -> None:
    """Draws derivatives, with their limits, bounds and extremes; limits and bounds that curves share in grey."""
    shared = len({curve.limits for curve in curves}) == 1
    for curve, color in zip(curves, COLORS, strict=False):
        layer = curve.layer
        axes.plot(x, evaluate(layer, x)[1], color=color, label=curve.label if labels else None)
        line = {"color": "0.35" if shared else color, "linewidth": 0.9}
        if curve is curves[0] or not shared:
            for limit, bound in zip(curve.limits, curve.bounds, strict=True):
                axes.axhline(limit, linestyle="--", **line)
                axes.axhline(bound, linestyle=":", **line)
        places = curve.extremes
        inside = np.abs(places) <= x[-1]
        axes.plot(places[inside], evaluate(layer, places)[1][inside], "o", color=color, markersize=5)


def marks() -> list[tuple[Any, str]]:
    """Returns the legend of limits, bounds and extremes."""
    from matplotlib.lines import Line2D

    return [
        (Line2D([], [], color="0.35", linestyle="--"), "limits, eq. (6)"),
        (Line2D([], [], color="0.35", linestyle=":"), "bounds, eq. (8)"),
        (Line2D([], [], color="0.35", linestyle="", marker="o"), "second derivative zero, eq. (7)"),
    ]


def save_pair(path: Path, title: str, curves: Sequence[Curve], x: np.ndarray) -> None:
    """Draws activations and their derivatives side by side."""
    figure = new_figure(10, 4.4)
    left, right = figure.subplots(1, 2)
    draw_values(left, curves, x)
    left.set_title(title)
    draw_slopes(right, curves, x)
    right.set_title("first derivative, colors as on the left")
    finish(figure, path, marks())


def save_acon_c(path: Path, by_bounds: Sequence[Curve], by_beta: Sequence[Curve], x: np.ndarray) -> None:
    """Draws ACON-C as in the paper's figure 2."""
    figure = new_figure(14, 4.6)
    first, second, third = figure.subplots(1, 3)
    draw_values(first, by_bounds, x)
    first.set_title(rf"(a) ACON-C, $\beta$ = {by_bounds[0].beta:g}")
    draw_slopes(second, by_beta, x, labels=True)
    second.set_title(f"(b) first derivative, $p_1 = {by_beta[0].p1:g}$, $p_2 = {by_beta[0].p2:g}$")
    draw_slopes(third, by_bounds, x)
    third.set_title(rf"(c) first derivative, $\beta$ = {by_bounds[0].beta:g}, colors as in (a)")
    finish(figure, path, marks())


def save_limits(path: Path, p1: float, p2: float, betas: Sequence[float], x: np.ndarray) -> None:
    """Draws ACON-C between the mean and the maximum of two linear functions, as in the paper's figure 3."""
    figure = new_figure(6.5, 4.6)
    axes = figure.subplots()
    axes.plot(x, np.maximum(p1 * x, p2 * x), color="0.75", linewidth=5, label=r"maximum, $\beta \to \infty$")
    for beta, color in zip(betas, COLORS, strict=False):
        values, _ = evaluate(Curve("ACON-C", "", beta, p1, p2).layer, x)
        axes.plot(x, values, color=color, label=rf"$\beta$ = {beta:g}")
    axes.plot(x, (p1 * x + p2 * x) / 2, color="red", linestyle="--", label=r"mean, $\beta \to 0$")
    axes.set_title(f"ACON-C of ${p1:g}x$ and ${p2:g}x$")
    finish(figure, path)


def save_weighted(path: Path, x: np.ndarray) -> None:
    """Draws the weighted ensemble of ReLU and Swish and its derivative."""
    figure = new_figure(10, 4.2)
    left, right = figure.subplots(1, 2)
    for alpha, color in zip(ALPHAS, COLORS, strict=True):
        values, slopes = evaluate(WeightedPEA("swish", alpha=alpha), x)
        left.plot(x, values, color=color, label=label(alpha))
        right.plot(x, slopes, color=color, label=label(alpha))
    left.set_title("PEA, weighted: ReLU and Swish")
    right.set_title("first derivative")
    finish(figure, path)


def save_stochastic(path: Path, x: np.ndarray) -> None:
    """Draws the stochastic ensemble of ReLU and Swish: what one call in training gives, and the expectation."""
    figure = new_figure(15, 5.6)
    rows = figure.subplots(2, len(ALPHAS), sharex=True, sharey="row")
    points = x[::4]
    for column, (alpha, color) in enumerate(zip(ALPHAS, COLORS, strict=True)):
        layer = StochasticPEA("swish", seed=0, alpha=alpha)
        expected, drawn = evaluate(layer, x), evaluate(layer, points, training=True)
        for row, expectation, sample in zip(rows[:, column], expected, drawn, strict=True):
            row.plot(points, sample, ".", color=color, markersize=3, label="drawn, in training")
            row.plot(x, expectation, color="0.2", linewidth=1, label="expectation, in inference")
        rows[0, column].set_title(label(alpha))
    rows[0, 0].set_ylabel("PEA, stochastic: ReLU or Swish")
    rows[1, 0].set_ylabel("first derivative")
    for axes in figure.axes:
        axes.grid(alpha=0.3)
    for axes in rows[1]:
        axes.set_xlabel("x")
        axes.set_xticks((-5, 0, 5))
    legend = figure.legend(*rows[0, 2].get_legend_handles_labels(), loc="outside lower center", ncols=2, markerscale=2)
    legend.legend_handles[0].set_color("0.5")  # The points of each column have a color of their own.
    figure.savefig(path, dpi=150)


def label(alpha: float) -> str:
    """Returns what a legend says of alpha."""
    extra = {0.0: ": Swish", 1.0: ": ReLU"}.get(alpha, "")
    return rf"$\alpha$ = {alpha:g}{extra}"


def bounds_table(curves: Sequence[Curve]) -> str:
    """Returns, for each curve, the extreme derivatives found on a grid beside the bounds of equation (8)."""
    lines = [
        f"Derivatives on {len(GRID)} points from {GRID[0]:g} to {GRID[-1]:g}, beside the bounds of equation (8):",
        f"{'layer':7} {'p1':>5} {'p2':>5} {'beta':>5} {'largest':>9} {'bound':>8} {'smallest':>9} {'bound':>8}",
    ]
    for curve in curves:
        slopes = evaluate(curve.layer, GRID)[1]
        low, high = curve.bounds
        lines.append(
            f"{curve.name:7} {curve.p1:5g} {curve.p2:5g} {curve.beta:5g} "
            f"{slopes.max():9.5f} {high:8.4f} {slopes.min():9.5f} {low:8.4f}"
        )
    return "\n".join(lines)


def run(out: Path) -> None:
    """Draws all plots into a folder and prints the table."""
    new_figure(1, 1)  # A missing matplotlib is noticed before anything is computed.
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Expected --out to be a folder. Received: {out} ({error.strerror}).") from error
    x = np.linspace(-6, 6, 1201)
    acon_a = [Curve("ACON-A", rf"$\beta$ = {beta:g}", beta) for beta in (0.5, 1, 2, 10)]
    acon_b = [Curve("ACON-B", f"p = {p:g}", 2.0, p2=p) for p in (0.0, 0.25, 0.5)]
    by_beta = [Curve("ACON-C", rf"$\beta$ = {beta:g}", beta, 1.2, -0.8) for beta in (0.3, 0.5, 1, 10)]
    slopes = ((1.0, 0.0), (1.2, -0.8), (0.6, 0.2), (-0.5, 0.8))
    by_bounds = [Curve("ACON-C", f"$p_1 = {p1:g}$, $p_2 = {p2:g}$", 2.0, p1, p2) for p1, p2 in slopes]
    save_pair(out / "acon_a.png", "ACON-A (Swish)", acon_a, x)
    save_pair(out / "acon_b.png", r"ACON-B, $\beta$ = 2", acon_b, x)
    save_acon_c(out / "acon_c.png", by_bounds, by_beta, x)
    save_limits(out / "acon_c_limits.png", 1.2, -0.8, (0.01, 0.2, 0.5, 1, 10), x)
    save_weighted(out / "pea_weighted.png", x)
    save_stochastic(out / "pea_stochastic.png", x)
    print(bounds_table([*acon_a, *acon_b, *by_beta, *by_bounds]))
    print(f"Written to {out}: {', '.join(sorted(path.name for path in out.glob('*.png')))}")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/activations", help="folder for the plots (default: %(default)s)")
    options = parser.parse_args()
    try:
        run(Path(options.out))
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
