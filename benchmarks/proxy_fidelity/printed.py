"""Tables as they are printed and written."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
      title: What it is about.
      header: Names of the columns.
      rows: The cells.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Returns the table in Markdown, with its title."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join([f"\n## {self.title}\n", *(f"| {' | '.join(cells)} |" for cells in lines)])

    def save(self, folder: Path, name: str) -> None:
        """Appends the table to `NAME.md`, of which the first begins a new one, and writes it as CSV of its own."""
        folder.mkdir(parents=True, exist_ok=True)
        slug = "".join(letter if letter.isalnum() else "_" for letter in self.title.lower())
        with (folder / f"{name}-{slug}.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([self.header, *self.rows])
