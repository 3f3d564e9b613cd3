"""A plot of mAP against latency on the device of the search."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from table import NETWORKS

_COLOURS = {"silu": "#E69F00", "relu": "#000000", "proposal": "#0072B2"}


def save_plot(path: Path, runs: Mapping[str, Any], device: str, seeds: int) -> None:
    """Draws the int8 networks: filled marks are fine-tuned, bars are standard deviations over the seeds.

    Args:
      path: The .png to write.
      runs: What `Results` holds.
      device: What was searched for, or "host int8".
      seeds: Number of seeds.

    Raises:
      MissingDependencyError: matplotlib is not installed.
    """
    from keras_actnas.core import MissingDependencyError

    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "report", "Drawing the plot") from error
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for network in NETWORKS:
        found = [runs[f"deploy/{seed}/{network.key}"]["int8"]["map50_95"] for seed in range(seeds)]
        axes.errorbar(
            runs[f"latency/{device}"][network.assignment]["milliseconds"],
            statistics.fmean(found),
            statistics.stdev(found) if seeds > 1 else None,
            marker="o",
            markersize=8,
            capsize=4,
            linestyle="none",
            color=_COLOURS[network.assignment],
            markerfacecolor=None if network.tuned else "white",
            label=network.label,
        )
    estimated = runs["search"]["estimated"] and not device.startswith("host")
    axes.set_xlabel(f"latency on {device}, ms{', as Vela estimates it' if estimated else ''}")
    axes.set_ylabel("mAP50-95, int8")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=9)
    figure.savefig(path, dpi=120)
