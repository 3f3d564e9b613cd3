"""keras-actnas report: write a run's report, one HTML file that needs no network.

  keras-actnas report runs/yolov5n-320
  keras-actnas report runs/yolov5n-320 --out=for-the-team.html

`keras-actnas search` writes report.html into the run folder by itself; this writes it anew, of a folder from anywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags

from keras_actnas.commands.models import check_new_file
from keras_actnas.core.errors import InputError
from keras_actnas.report import save_report


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "out", None, "The HTML file to write; by default report.html in the run folder.", flag_values=values
    )
    flags.DEFINE_bool("overwrite", False, "Whether --out may exist already.", flag_values=values)


def run(values: Any, positional: list[str]) -> None:
    """Runs the command."""
    if len(positional) != 1:
        raise InputError(f"Expected one run folder. Received: {len(positional)}; `keras-actnas report RUN`.")
    if values.out:
        check_new_file(values.out, values.overwrite)
    out = Path(values.out or Path(positional[0], "report.html"))
    save_report(positional[0], out)
    print(f"{out}: open it in a browser.")
