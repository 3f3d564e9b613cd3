"""What the examples that take long have measured so far, in a file: a run that was stopped goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keras_actnas.core import InputError
from keras_actnas.core.files import write_atomically


class Results:
    """What was measured so far, in a file.

    Args:
      path: The file; it need not exist.
      settings: What all its runs have in common, as values that JSON can hold.

    Raises:
      InputError: The file is of other settings, or not one of this script.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.settings = settings
        self.runs: dict[str, dict[str, Any]] = {}
        if not path.exists():
            return
        try:
            content = json.loads(path.read_text())
            found, self.runs = dict(content["settings"]), dict(content["runs"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"Expected results of this script in {path} ({error!r}). Pass another --out.") from error
        different = [name for name in {**settings, **found} if settings.get(name) != found.get(name)]
        if different:
            name = different[0]
            raise InputError(
                f"Expected the settings of the results in {path}, {name}={found.get(name)}. "
                f"Received: {name}={settings.get(name)}. Pass another --out."
            )

    def get(self, key: str) -> dict[str, Any] | None:
        """Returns what one run gave; None if it is to be done."""
        return self.runs.get(key)

    def add(self, key: str, result: dict[str, Any]) -> None:
        """Writes the file with one more run."""
        self.runs[key] = result
        write_atomically(self.path, json.dumps({"settings": self.settings, "runs": self.runs}, indent=1) + "\n")
