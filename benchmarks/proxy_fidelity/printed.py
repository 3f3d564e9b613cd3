"""Tables as they are printed and written."""

from __future__ import annotations

import csv
import dataclasses
import re
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

    def save(self, folder: Path, prefix: str) -> None:
        """Writes the table as CSV into a folder; the file is called by the prefix and the title."""
        folder.mkdir(parents=True, exist_ok=True)
        title = re.sub(r"[^a-z0-9]+", "-", self.title.lower())
        with (folder / f"{prefix}-{title}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([self.header, *self.rows])
