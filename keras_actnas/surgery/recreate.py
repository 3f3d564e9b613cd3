"""Recreating a layer: a new one of the same configuration, with some of it changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_actnas import core

ConfigChange = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the configuration of a layer or operation and returns the one that its copy is made from."""


def recreate(operation: Any, change: ConfigChange | None = None) -> Any:
    """Returns a new layer or operation of the same name and configuration, not built.

    Functions are handed over as they are, so that lambdas and functions that are registered nowhere survive a copy in
    memory, which a round trip through their serialized form would not allow.

    Args:
      operation: A layer or an operation of a functional model.
      change: Applied to the configuration.

    Raises:
      InputError: The layer cannot be recreated from its configuration.

    >>> copy = recreate(keras.layers.Dense(3, name="fc"), lambda config: {**config, "units": 4})
    >>> copy.name, copy.units
    ('fc', 4)
    """
    try:
        config = operation.get_config()
        config = change(config) if change else config
        new = _lambda(operation, config) if type(operation) is keras.layers.Lambda else _plain(operation, config)
    except core.InputError:
        raise
    except Exception as error:
        # Whatever a layer's constructor raises, the cause for the user is the same.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise core.InputError(
            "Expected layers that `get_config` and `from_config` recreate. "
            f"Received: {operation.name!r} of type {type(operation).__name__} ({reason}). Give the class a "
            "`get_config` that returns the arguments of its constructor."
        ) from error
    if not isinstance(new, keras.Layer):
        new.name = operation.name  # An operation's constructor need not take a name.
    return new


def _plain(operation: Any, config: dict[str, Any]) -> Any:
    function = getattr(operation, "activation", None)
    if callable(function) and not isinstance(function, keras.Layer) and config.get("activation") == _written(function):
        config = {**config, "activation": function}
    return type(operation).from_config(config)


def _written(function: Any) -> Any:
    return keras.activations.serialize(function)


def _lambda(layer: Any, config: dict[str, Any]) -> Any:
    # A Lambda has no public name for its output shape.
    live = {"function": layer.function, "output_shape": layer._output_shape, "mask": layer.mask}
    return keras.layers.Lambda(**{**config, **live, "arguments": layer.arguments})
