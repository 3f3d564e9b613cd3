"""Keras 2 and the TensorFlow Model Optimization toolkit, imported beside Keras 3 in one process."""

from __future__ import annotations

import importlib
import os
import warnings
from typing import Any

from keras_actnas.core.errors import MissingDependencyError

_SWITCH = "TF_USE_LEGACY_KERAS"


def tf_keras() -> Any:
    """Returns the module `tf_keras`: Keras 2, the one that tfmot knows.

    Raises:
      MissingDependencyError: It is not installed.
    """
    return _import("tf_keras", "tf_keras", "Rebuilding a model in Keras 2")


def tfmot() -> Any:
    """Returns the module `tensorflow_model_optimization`, and leaves the process with Keras 3.

    On import it sets the environment variable TF_USE_LEGACY_KERAS, which makes `tf.keras` Keras 2 where nobody has
    used it yet, in this process and in those that it starts. So `tf.keras` is resolved first, and the variable put
    back.

    Raises:
      MissingDependencyError: It is not installed.
    """
    tf_keras()
    import tensorflow as tf

    _ = tf.keras.layers
    before = os.environ.get(_SWITCH)
    try:
        return _import("tensorflow_model_optimization", "tensorflow-model-optimization", "Quantization-aware training")
    finally:
        os.environ.pop(_SWITCH, None)
        if before is not None:
            os.environ[_SWITCH] = before


def _import(name: str, package: str, purpose: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # About what they import themselves.
            return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(package, "tfmot", purpose) from error
