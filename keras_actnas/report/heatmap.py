"""Heat maps of metric tables: sites down, activations across."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from keras_actnas.core.errors import MissingDependencyError
from keras_actnas.core.table import MetricTable


def save_heatmap(table: MetricTable, path: str | os.PathLike[str]) -> None:
    """Draws a table's deltas to the reference as a PNG.

    Orange is more and purple is less than the reference; grey cells were not measured, a dot marks the reference's own
    activation, and cells that are smaller than twice their standard error are hatched.

    Raises:
      MissingDependencyError: matplotlib is not installed.
    """
    figure_class, canvas_class = _matplotlib()
    sites, names = table.sites, table.activations
    figure = figure_class(figsize=(2.5 + 0.9 * len(names), 1.5 + 0.16 * len(sites)), layout="constrained")
    canvas_class(figure)
    axes = figure.subplots()
    axes.set_facecolor("0.85")
    largest = float(np.max(np.abs(np.nan_to_num(table.delta)), initial=0.0)) or 1.0
    image = axes.imshow(
        np.ma.masked_invalid(table.delta),
        cmap="PuOr_r",
        vmin=-largest,
        vmax=largest,
        aspect="auto",
        interpolation="none",
    )
    _mark_cells(axes, table)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(sites)), sites, fontsize=5 if len(sites) > 30 else 8)
    unit = f" ({table.unit})" if table.unit else ""
    value = f"{table.reference_value.value:.4g}{f' {table.unit}' if table.unit else ''}"
    axes.set_title(f"{table.metric}: change against the reference ({value})", fontsize=9)
    figure.colorbar(image, ax=axes, label=f"change{unit}", shrink=0.6)
    figure.savefig(path, dpi=150)


def _mark_cells(axes: Any, table: MetricTable) -> None:
    from matplotlib.patches import Rectangle

    unclear = np.abs(table.delta) < 2 * table.standard_error
    for row, (site, current) in enumerate(table.reference.items()):
        del site
        for column, name in enumerate(table.activations):
            if name == current:
                axes.plot(column, row, ".", color="0.25", markersize=3)
            elif unclear[row, column]:
                box = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch="////", edgecolor="0.6", linewidth=0)
                axes.add_patch(box)


def _matplotlib() -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "report", "Drawing heat maps") from error
    return Figure, FigureCanvasAgg
