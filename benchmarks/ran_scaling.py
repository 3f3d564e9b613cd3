"""RAN-i and the co-designed block of "Restructurable Activation Networks" (2022): the paper's figures beside ours.

  python benchmarks/ran_scaling.py
  python benchmarks/ran_scaling.py --stability     # which activations stand which learning rate; minutes

MACs are counted twice: those of convolutions and dense layers, and with one operation more for each number that a
LayerNorm or an activation puts out, which is how the paper's digits come about. Only --stability trains anything.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_actnas.layers import ExponentialKernel
from keras_actnas.models import ConvNeXt, ConvNeXtConfig
from keras_actnas.search import count_macs, nn_mass, nonlinear_units, scale

NETWORKS: dict[str, tuple[ConvNeXtConfig, str, str]] = {
    "ConvNeXt-T": (ConvNeXtConfig(), "28.6", "4.47"),
    "40% pruned": (ConvNeXtConfig(expansion=2.4), "18.2", "2.8"),
    "27.5% pruned": (ConvNeXtConfig(expansion=2.9), "21.5", "3.32"),
    "Model A": (ConvNeXtConfig(linear_fraction=0.4), "21.5", "3.32"),
    "Model B": (ConvNeXtConfig(linear_fraction=0.4, linear_activation="gelu"), "21.5", "3.32"),
    "Model C": (ConvNeXtConfig(linear_fraction=0.4, linear_activation="exponential"), "21.5", "3.32"),
    "RAN-i-T": (ConvNeXtConfig((64, 128, 256, 511), (5, 5, 15, 5)), "20.76", "3.3"),
    "RAN-i-S": (ConvNeXtConfig((76, 151, 303, 606), (5, 5, 15, 5)), "28.93", "4.59"),
    "RAN-i-B": (ConvNeXtConfig((87, 175, 350, 699), (7, 7, 21, 7)), "52.89", "8.45"),
}
"""Networks of tables 4 and 7, with the paper's parameters in millions and MACs in billions."""

BUDGETS = {"RAN-i-T": (3.3e9, 21e6), "RAN-i-S": (4.5e9, 28e6), "RAN-i-B": (8.5e9, 50e6)}
"""The budgets of section 3.4 that the networks are for."""

_ELEMENTWISE = (keras.layers.LayerNormalization, keras.layers.Activation, ExponentialKernel)


def elements(model: keras.Model) -> int:
    """Returns how many numbers the normalizations and activations of a model put out for one image."""
    return sum(math.prod(layer.output.shape[1:]) for layer in model.layers if isinstance(layer, _ELEMENTWISE))


def print_networks() -> None:
    """Prints parameters, MACs and NN-Mass of the paper's networks."""
    print(
        f"{'network':14}{'M parameters':>14}{'(paper)':>9}{'G MACs':>10}{'+ elements':>12}{'(paper)':>9}"
        f"{'NN-Mass':>10}{'units':>8}"
    )
    for name, (config, parameters, macs) in NETWORKS.items():
        model = ConvNeXt(**dataclasses.asdict(config))
        count = count_macs(model)
        print(
            f"{name:14}{count.parameters / 1e6:14.3f}{parameters:>9}{count.macs / 1e9:10.3f}"
            f"{(count.macs + elements(model)) / 1e9:12.3f}{macs:>9}{nn_mass(model):10,.0f}{nonlinear_units(model):8,d}"
        )


def print_scaling() -> None:
    """Prints the best networks for the paper's budgets, and for what the paper's networks cost themselves."""
    configs = [NETWORKS[name][0] for name in BUDGETS]
    own = [(config.macs(), config.parameters()) for config in configs]
    for title, budgets in (("the paper's budgets", list(BUDGETS.values())), ("what the paper's networks cost", own)):
        macs, params = zip(*budgets, strict=True)
        exact = scale(ConvNeXtConfig(), macs, params)
        drawn = scale(ConvNeXtConfig(), macs, params, samples=800)
        for name, config, budget, best, sampled in zip(BUDGETS, configs, budgets, exact, drawn, strict=True):
            print(f"\n{title}: {budget[0] / 1e9:.3f} G MACs, {budget[1] / 1e6:.2f} M parameters")
            print(f"  {name} of the paper: {describe(config)}")
            for network in best:
                print(f"  {describe(network.config)}")
            print(f"  best of 800 drawn: {describe(sampled[0].config)}")


def describe(config: ConvNeXtConfig) -> str:
    """Returns what a network is and costs, in one line."""
    return (
        f"NN-Mass {nn_mass(config):,.0f}, {config.macs() / 1e9:.3f} G MACs, {config.parameters() / 1e6:.2f} M "
        f"parameters, widths {list(config.widths)}, depths {list(config.depths)}"
    )


def tangent(x: Any) -> Any:
    """Returns exp up to 2, and its tangent beyond: what a bounded gradient alone achieves."""
    return keras.ops.exp(keras.ops.minimum(x, 2.0)) * (1 + keras.ops.relu(x - 2.0))


VARIANTS: dict[str, Callable[[], keras.layers.Layer]] = {
    "exp": lambda: keras.layers.Activation("exponential"),
    "tangent from 2": lambda: keras.layers.Activation(tangent),
    **{f"ExponentialKernel({t})": lambda t=t: ExponentialKernel(t) for t in (1, 2, 3, 4, 6)},
    "gelu": lambda: keras.layers.Activation("gelu"),
}


def last_loss(psi: keras.layers.Layer, rate: float, seed: int) -> float:
    """Returns the loss after 160 steps of a small classifier: layer normalization, dense layer, psi, dense layer."""
    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    x = random.normal(size=(256, 8)).astype("float32")
    y = (x @ random.normal(size=(8, 3))).argmax(axis=-1)
    hidden = keras.layers.Dense(16, kernel_initializer=keras.initializers.RandomNormal(stddev=1.0))
    layers = [keras.layers.LayerNormalization(), hidden, psi, keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((8,)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate), loss, jit_compile=False)
    return float(model.fit(x, y, batch_size=32, epochs=20, verbose=0).history["loss"][-1])


def print_stability(seeds: int) -> None:
    """Prints how often training ends in NaN, and the median of the last losses that are numbers."""
    rates = (0.01, 0.03, 0.1, 0.3, 1.0)
    print(f"\nruns of {seeds} that end in NaN, and the median loss of the others (guessing: {math.log(3):.2f})")
    print(f"{'learning rate':24}" + "".join(f"{rate:>16g}" for rate in rates))
    for name, make in VARIANTS.items():
        cells = []
        for rate in rates:
            losses = np.array([last_loss(make(), rate, seed) for seed in range(seeds)])
            numbers = losses[np.isfinite(losses)]
            median = f"{np.median(numbers):.2f}" if len(numbers) else "-"
            cells.append(f"{np.sum(~np.isfinite(losses)):>8} NaN{median:>8}"[-16:])
        print(f"{name:24}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stability", action="store_true", help="train small networks with the exponential kernel")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each, for --stability (default: %(default)s)")
    options = parser.parse_args()
    print_networks()
    print_scaling()
    if options.stability:
        print_stability(options.seeds)


if __name__ == "__main__":
    main()
