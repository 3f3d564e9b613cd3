"""Keeps what compiled code prints off the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def printing_to(file: int) -> Iterator[None]:
    """While this lasts, whatever the process prints goes to a file, also what parts of it that are no Python print.

    Args:
      file: Descriptor of the file.
    """
    streams = (sys.stdout, sys.stderr)
    with open(os.dup(file), "w", encoding="utf-8") as text:  # noqa: PTH123
        kept = [os.dup(1), os.dup(2)]
        try:
            for stream in streams:
                stream.flush()
            os.dup2(file, 1)
            os.dup2(file, 2)
            with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
                yield
        finally:
            for stream in (*streams, text):
                stream.flush()
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
