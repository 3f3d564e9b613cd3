"""What lies in a bundle beside the code."""

from __future__ import annotations

import pkgutil

from keras_actnas.core.errors import InputError

PLAN = "plan.json"
NETWORK = "network.tflite"


def packed(name: str) -> bytes:
    """Returns a file of the bundle that this code runs from.

    Raises:
      InputError: The code does not run from a bundle.
    """
    try:
        content = pkgutil.get_data("__main__", name)
    except OSError:
        content = None
    if content is None:
        raise InputError(
            f"Expected a bundle with {name}. Received: none; make one with `keras-actnas bundle`, or give the file."
        )
    return content
