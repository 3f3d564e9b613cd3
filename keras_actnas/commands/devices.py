"""keras-actnas devices: list what networks can be measured on from here, and what each would need."""

from __future__ import annotations

from typing import Any

from absl import flags

from keras_actnas.core.errors import InputError
from keras_actnas.devices.specs import FORMS, list_devices


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags: none."""


def run(values: Any, positional: list[str]) -> None:
    """Runs the command."""
    if positional:
        raise InputError(f"Expected no arguments. Received: {positional[0]!r}.")
    width = max(map(len, FORMS))
    for form, state in list_devices():
        print(f"{form:{width}}  {FORMS[form]}\n{'':{width}}  {state}")
