"""Batch size: a float32 copy of a model for inputs of one fixed shape."""

from __future__ import annotations

from typing import Any

import keras

from keras_actnas import core
from keras_actnas.surgery.copying import Rewrite, copy_model
from keras_actnas.surgery.graph import check_graph_model

_FLOATS = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64")


def set_batch_size(model: keras.Model, batch_size: int = 1) -> keras.Model:
    """Returns a float32 copy of a model whose inputs have a fixed batch size, ready for conversion to TFLite.

    With a batch of unknown size a converted graph computes shapes at run time, and a model of mixed precision does
    not convert at all, so every layer, operation and input that computes in another floating-point type computes in
    float32 in the copy. Weights, names, structure and trainable flags are those of `model`.

    Args:
      model: A functional or Sequential model with any number of inputs.
      batch_size: Number of images in a batch.

    Raises:
      InputError: The model is not functional, or an input has another dimension of unknown size.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> set_batch_size(model).inputs[0].shape
    (1, 4)
    """
    check_graph_model(model)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise core.InputError(f"Expected a batch size of 1 or more. Received: {batch_size!r}.")
    for tensor in model.inputs:
        if None in tensor.shape[1:]:
            raise core.InputError(
                "Expected inputs whose dimensions are all known, except for the batch. "
                f"Received: shape {tuple(tensor.shape)} of {tensor._keras_history.operation.name!r}; build the model "
                "with a fixed input shape, such as `input_shape=(224, 224, 3)`."
            )

    def inputs(config: dict[str, Any]) -> dict[str, Any]:
        return in_float32({**config, "batch_shape": (batch_size, *config["batch_shape"][1:])})

    # Layers that others create inside of themselves follow the global policy.
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        return copy_model(model, Rewrite(config=in_float32, inputs=inputs))
    finally:
        keras.config.set_dtype_policy(policy)


def in_float32(config: Any, key: str = "") -> Any:
    """Returns a layer's configuration with float32 for every other floating-point type, at any depth.

    Integer, boolean and string types stay, and so does a quantized policy.

    >>> in_float32({"dtype": "mixed_float16", "layer": {"config": {"dtype": "int32"}}})
    {'dtype': 'float32', 'layer': {'config': {'dtype': 'int32'}}}
    """
    if isinstance(config, dict):
        if key == "dtype" and config.get("class_name") == "DTypePolicy":
            return in_float32(config["config"]["name"], key)
        return {name: in_float32(value, name) for name, value in config.items()}
    if isinstance(config, (list, tuple)):
        values = [in_float32(value) for value in config]
        return tuple(values) if isinstance(config, tuple) else values
    return "float32" if key == "dtype" and config in _FLOATS else config
