"""What a person names as module:function, in the current folder or installed."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from keras_actnas.core.errors import InputError, MissingDependencyError


def imported(spec: str, flag: str) -> Any:
    """Returns what `module:name` says.

    Args:
      spec: The module and the name in it.
      flag: What messages call the place where it was given: "proxy".

    Raises:
      InputError: It cannot be imported.
    """
    module, _, name = spec.partition(":")
    if os.getcwd() not in sys.path:  # noqa: PTH109
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        return getattr(importlib.import_module(module), name)
    except MissingDependencyError:
        raise  # Of a part of this package; it says what to install.
    except Exception as error:  # The module may be the user's: it may raise anything.
        raise InputError(
            f"Expected {flag}=module:function that can be imported. Received: {spec!r} "
            f"({type(error).__name__}: {error})."
        ) from error
