"""keras-actnas compare: what the networks found for one device cost on another.

  keras-actnas compare runs/yolov5n-320 runs/yolov5n-320-vela-ethos-u65-512

Both runs are of the same model. Each device's tables predict what the other's proposals cost there, with errors, beside
its own proposals and the networks with one activation everywhere. Nothing is measured.
"""

from __future__ import annotations

from typing import Any

from absl import flags

from keras_actnas.commands.models import check_new_file
from keras_actnas.core.errors import InputError
from keras_actnas.core.files import write_atomically
from keras_actnas.report import Run, compare_runs


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("out", None, "A text file to write, too.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Whether --out may exist already.", flag_values=values)


def run(values: Any, positional: list[str]) -> None:
    """Runs the command."""
    if len(positional) != 2:
        raise InputError(f"Expected two run folders. Received: {len(positional)}; `keras-actnas compare RUN_A RUN_B`.")
    if values.out:
        check_new_file(values.out, values.overwrite)
    text = compare_runs(*(Run.load(path) for path in positional))
    print(text)
    if values.out:
        write_atomically(values.out, text + "\n")
