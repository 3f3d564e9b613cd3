"""The loss that a network is trained with for a score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_actnas.core.errors import InputError, closest
from keras_actnas.search.proxies.logits import is_softmax
from keras_actnas.search.user_functions import imported

Loss = Callable[[Any, Any], Any]
"""Takes targets and outputs; returns the mean loss of the batch."""


def loss_for(model: keras.Model, targets: Any, name: str | None = None) -> Loss:
    """Returns the loss of a model: the one that is named, else that of the compiled model, else that of classes.

    Args:
      model: The model, compiled or not.
      targets: Targets of one batch.
      name: A loss of Keras, such as "mse", or module:function of one's own, which takes targets and outputs. None
        for the one that the model was compiled with; where it was not, and the targets are integers and the outputs
        one row of numbers for each image, the cross entropy of classes.

    Raises:
      InputError: No such loss, or none is named and it cannot be told.
    """
    if name is not None:
        return _mean(imported(name, "loss") if ":" in name else _of_keras(name))
    if model.compiled and model.loss is not None:
        return lambda targets, outputs: model.compute_loss(y=targets, y_pred=outputs)
    if _are_classes(model, targets):
        outputs = model.outputs[0]
        classes = int(outputs.shape[-1])
        if np.min(targets) < 0 or np.max(targets) >= classes:
            raise InputError(
                f"Expected classes from 0 to {classes - 1}, as {model.name!r} has {classes} outputs. "
                f"Received: {np.min(targets)} to {np.max(targets)}."
            )
        return keras.losses.SparseCategoricalCrossentropy(from_logits=not is_softmax(outputs._keras_history.operation))
    raise InputError(
        f"Expected --loss, since {model.name!r} is not compiled with one and its targets are not classes. Received: "
        "none; give a loss of Keras (--loss=mse) or one of your own (--loss=module:function)."
    )


def _are_classes(model: keras.Model, targets: Any) -> bool:
    return (
        len(model.outputs) == 1
        and len(model.outputs[0].shape) == 2
        and isinstance(targets, np.ndarray)
        and np.issubdtype(targets.dtype, np.integer)
        and targets.size == len(targets)
    )


def _of_keras(name: str) -> Any:
    try:
        return keras.losses.get(name)
    except ValueError as error:
        functions = {"serialize", "deserialize", "get"}
        known = sorted(
            each for each in vars(keras.losses) if each[0].isalpha() and each.islower() and each not in functions
        )
        raise InputError(
            f"Expected a loss of Keras, or module:function. Received: {name!r}.{closest(name, known)}"
        ) from error


def _mean(loss: Any) -> Loss:
    return lambda targets, outputs: keras.ops.mean(loss(targets, outputs))
