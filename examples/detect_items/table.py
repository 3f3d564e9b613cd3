"""The table of results: mAP over the seeds, and latency."""

from __future__ import annotations

import csv
import dataclasses
import io
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployment import PRECISIONS

from keras_actnas.core import Assignment
from keras_actnas.core.files import write_atomically


@dataclasses.dataclass(frozen=True)
class Network:
    """A row of the table.

    Attributes:
      assignment: The assignment, by its name in the results.
      tuned: Whether it was fine-tuned, or only put into the network that was trained with SiLU.
      label: What it is called.
    """

    assignment: str
    tuned: bool
    label: str

    @property
    def key(self) -> str:
        """Its name in the results and on disk."""
        return f"{self.assignment}-{'tuned' if self.tuned else 'swapped'}"


NETWORKS = (
    Network("silu", False, "SiLU, as trained"),
    Network("silu", True, "SiLU, trained on"),
    Network("relu", True, "ReLU, fine-tuned"),
    Network("proposal", False, "proposal, not fine-tuned"),
    Network("proposal", True, "proposal, fine-tuned"),
)

CONTROL = NETWORKS[1]
"""What the others are compared with: it was trained as long as those that were fine-tuned."""


def save_table(
    runs: Mapping[str, Any], assignments: Mapping[str, Mapping[str, str]], device: str, seeds: int, out: Path
) -> str:
    """Writes table.csv, every seed and figure by itself, and table.txt, and returns the text.

    Args:
      runs: What `Results` holds.
      assignments: Name -> site -> activation.
      device: What was searched for.
      seeds: Number of seeds.
      out: The folder.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("network", "precision", "seed", "map50_95", "map50"))
    for network in NETWORKS:
        for precision in PRECISIONS:
            for seed in range(seeds):
                found = runs[f"deploy/{seed}/{network.key}"][precision]
                writer.writerow((network.label, precision, seed, found["map50_95"], found["map50"]))
    write_atomically(out / "table.csv", lines.getvalue())
    text = "\n".join(
        [_accuracy_table(runs, seeds), "", _latency_table(runs, device), "", _note(runs, assignments, device, seeds)]
    )
    write_atomically(out / "table.txt", text + "\n")
    return text


def _accuracy_table(runs: Mapping[str, Any], seeds: int) -> str:
    columns = [(precision, metric) for metric in ("map50_95", "map50") for precision in PRECISIONS]
    titles = {"map50_95": "mAP50-95", "map50": "mAP50"}
    rows = [["", *(f"{titles[metric]}, {precision}" for precision, metric in columns), f"to {CONTROL.label}, int8"]]
    # A seed's networks start from the same weights: their differences say more than those of the means.
    controls = [runs[f"deploy/{seed}/{CONTROL.key}"]["int8"]["map50_95"] for seed in range(seeds)]
    for network in NETWORKS:
        found = [runs[f"deploy/{seed}/{network.key}"] for seed in range(seeds)]
        cells = [mean_and_deviation([one[precision][metric] for one in found]) for precision, metric in columns]
        own = [one["int8"]["map50_95"] for one in found]
        difference = mean_and_deviation([one - other for one, other in zip(own, controls, strict=True)], "+")
        rows.append([network.label, *cells, "" if network is CONTROL else difference])
    return _markdown(rows)


def _latency_table(runs: Mapping[str, Any], device: str) -> str:
    devices = [key.partition("/")[2] for key in runs if key.startswith("latency/")]
    estimated = runs["search"]["estimated"]
    rows = [["latency", *(f"{name}{', estimated' * (estimated and name == device)}" for name in devices)]]
    for name, label in (("silu", "SiLU"), ("relu", "ReLU"), ("proposal", "proposal")):
        rows.append([label, *(_latency(runs[f"latency/{one}"][name], name) for one in devices)])
    return _markdown(rows)


def _latency(found: Mapping[str, float], name: str) -> str:
    text = f"{found['milliseconds']:.3f} ms"
    if name == "silu":
        return text
    interval = f" ({found['low']:.3f} to {found['high']:.3f})" if "low" in found else ""
    return f"{text}, {found['ratio']:.3f}{interval}"


def _note(runs: Mapping[str, Any], assignments: Mapping[str, Mapping[str, str]], device: str, seeds: int) -> str:
    spread = f"mean +- standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    estimate = " (Vela's estimate)" if runs["search"]["estimated"] else ""
    return (
        f"mAP on the validation images, {spread}; last column: difference of mAP50-95, seed by seed.\nLatency, and its "
        "ratio to SiLU's, with the 95 % interval where it is measured.\n"
        f"Proposal for {device}{estimate}: {Assignment(assignments['proposal']).summary()}."
    )


def mean_and_deviation(values: list[float], sign: str = "") -> str:
    """Returns the mean, with its sign if that is "+", and, of several values, the standard deviation, as text.

    >>> mean_and_deviation([0.25, 0.35])
    '0.300 +- 0.071'
    """
    text = f"{statistics.fmean(values):{sign}.3f}"
    return f"{text} +- {statistics.stdev(values):.3f}" if len(values) > 1 else text


def _markdown(rows: list[list[str]]) -> str:
    """Returns a table as Markdown has it, in columns of even width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
