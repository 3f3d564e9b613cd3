"""The one exception that means "what you gave me cannot be used"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A user's input cannot be used; the message says what was expected, what came, and what mends it.

    The command line prints it as one line and exits with status 2.
    """


class MissingDependencyError(InputError, ImportError):
    """An optional dependency is absent; the message carries the `pip install` line that mends it."""

    def __init__(self, package: str, extra: str, purpose: str, otherwise: str = "") -> None:
        super().__init__(
            f"{purpose} needs `{package}`, which is not installed. Install it with: "
            f'pip install "keras-actnas[{extra}]"{otherwise}'
        )


def closest(name: str, known: Iterable[str], limit: int = 3) -> str:
    """Returns a hint such as ` Did you mean 'relu6'?`, or the known names when none is close."""
    known = list(known)
    matches = difflib.get_close_matches(name, known, n=limit)
    if matches:
        return f" Did you mean {' or '.join(repr(match) for match in matches)}?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f" Known: {shown or 'none'}."
