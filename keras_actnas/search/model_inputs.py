"""What a Keras model is to be called on: shapes and types of its inputs, all dimensions known."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_actnas.core.checks import is_whole
from keras_actnas.core.errors import InputError
from keras_actnas.surgery.graph import is_graph_model


@dataclasses.dataclass(frozen=True)
class InputSpecs:
    """The inputs of one call.

    Attributes:
      structure: Symbolic tensors in the structure that the model takes (one, a list, a mapping).
      batch: How many images they hold: the model's own batch size if it is fixed, else 1.
    """

    structure: Any
    batch: int


def input_specs(model: keras.Model, input_shape: Sequence[Any] | Mapping[str, Any] | None = None) -> InputSpecs:
    """Returns what to call a model on.

    Args:
      model: A built model of any kind.
      input_shape: Shape without the batch dimension; for several inputs a list of shapes, or a mapping from names.

    Raises:
      InputError: The model is not built, a dimension is unknown, or `input_shape` does not fit the model's inputs.

    >>> specs = input_specs(keras.Sequential([keras.Input((None, None, 3)), keras.layers.ReLU()]), (32, 48, 3))
    >>> specs.structure.shape, specs.batch
    ((1, 32, 48, 3), 1)
    """
    own = _own_inputs(model, any_size=input_shape is not None)
    tensors = keras.tree.flatten(own)
    shapes = _given_shapes(model, tensors, input_shape)
    batch = tensors[0].shape[0] or 1
    result = []
    for tensor, given in zip(tensors, shapes, strict=True):
        shape = tensor.shape[1:] if given is None else given
        if None in shape:
            raise InputError(
                f"Expected inputs whose dimensions are known. Received: {model.name!r} with an input of shape "
                f"{tuple(tensor.shape)}; pass input_shape, such as input_shape={_example(shape)}, or build the model "
                "with a fixed input shape."
            )
        result.append(keras.KerasTensor((batch, *shape), dtype=tensor.dtype))
    return InputSpecs(keras.tree.pack_sequence_as(own, result), batch)


def _own_inputs(model: keras.Model, any_size: bool) -> Any:
    """Returns symbolic inputs as the model was built with, in the structure that it takes.

    The sizes that a subclassed model happened to be built with need not be the only ones: `any_size` leaves them open.
    """
    if is_graph_model(model) and model.built:
        return model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    shape = (model.get_build_config() or {}).get("input_shape") if model.built else None
    if shape is None:
        raise InputError(
            f"Expected a model that is built. Received: {model.name!r}, which is not, or not with one argument; call "
            "it once on a batch of images, or `model.build((None, 224, 224, 3))` with its input shape."
        )
    return _map_shapes(shape, lambda one: keras.KerasTensor([None] * len(one) if any_size else (None, *one[1:])))


def _map_shapes(shapes: Any, function: Any) -> Any:
    """Applies a function to every shape in a structure of lists and mappings."""
    if isinstance(shapes, Mapping):
        return {name: _map_shapes(one, function) for name, one in shapes.items()}
    if any(isinstance(one, (list, tuple, Mapping)) for one in shapes):
        return [_map_shapes(one, function) for one in shapes]
    return function(tuple(shapes))


def _given_shapes(
    model: keras.Model, tensors: list[Any], input_shape: Sequence[Any] | Mapping[str, Any] | None
) -> list[tuple[int, ...] | None]:
    """Returns the shape that the user gave for each input, checked against what the model knows of it."""
    if input_shape is None:
        return [None] * len(tensors)
    if isinstance(input_shape, Mapping):
        names = [tensor.name for tensor in tensors]
        given = [input_shape[name] for name in names] if set(input_shape) == set(names) else []
    elif len(tensors) == 1 and not any(isinstance(size, (list, tuple)) for size in input_shape):
        given = [input_shape]
    else:
        given = list(input_shape)
    fits = len(given) == len(tensors) and all(
        _fits(shape, tensor.shape[1:]) for shape, tensor in zip(given, tensors, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(tuple(tensor.shape[1:])) for tensor in tensors)
        raise InputError(
            f"Expected input_shape to fit the inputs of {model.name!r}, without the batch: {wanted}. "
            f"Received: {input_shape!r}."
        )
    return [tuple(int(size) for size in shape) for shape in given]


def _fits(shape: Any, own: tuple[int | None, ...]) -> bool:
    return (
        isinstance(shape, (list, tuple))
        and len(shape) == len(own)
        and all(is_whole(size) and size > 0 and known in (None, size) for size, known in zip(shape, own, strict=True))
    )


def _example(shape: Sequence[int | None]) -> tuple[int, ...]:
    return tuple(size or 224 for size in shape)
