"""How the scripts of the study end where their input is wrong: with one line that says so."""

from __future__ import annotations

import sys
from collections.abc import Callable

from keras_actnas.core import InputError


def run_command(main: Callable[[], None]) -> None:
    """Runs a script; wrong input is told in a line, not in a traceback."""
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
