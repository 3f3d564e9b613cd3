"""The file of scores: a line of JSON for the scores of all assignments by one setting and start."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from study import read_lines

from keras_actnas.core import Assignment, InputError


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a score depends on besides the assignment and the start.

    Attributes:
      proxy: Name of the proxy.
      batch_norm: Mode of BatchNorm.
      batch: Images in a batch.
      size: Height and width of the images, pixels.
    """

    proxy: str
    batch_norm: str
    batch: int
    size: int


Scores = dict[Setting, dict[int, dict[str, float]]]
"""Setting -> start -> digest of the assignment -> score."""


def read_scores(path: Path) -> tuple[Scores, dict[str, bool]]:
    """Reads a file of scores; nothing where there is none.

    Returns:
      The scores, and proxy -> whether a higher one promises a better network.

    Raises:
      InputError: A line is damaged.
    """
    found: Scores = {}
    higher: dict[str, bool] = {}
    try:
        for line in read_lines(path):
            setting = Setting(*(line[field.name] for field in dataclasses.fields(Setting)))
            found.setdefault(setting, {}).setdefault(line["start"], {}).update(line["scores"])
            higher[setting.proxy] = line["higher_is_better"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"Expected lines of proxies.py (--scores). Received: {path} ({type(error).__name__}: {error})."
        ) from error
    return found, higher


def append_scores(
    path: Path, setting: Setting, start: int, scores: Mapping[Assignment, float], higher_is_better: bool, seconds: float
) -> None:
    """Appends a line, with the seconds that the scores took."""
    line = {
        **dataclasses.asdict(setting),
        "start": start,
        "higher_is_better": higher_is_better,
        "seconds": round(seconds, 2),
        "scores": {one.digest: float(f"{value:.9g}") for one, value in scores.items()},
    }
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
