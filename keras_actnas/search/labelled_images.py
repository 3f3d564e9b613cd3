"""Where labelled data comes from: a folder with a folder for each class, or a function of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from keras_actnas.core.errors import InputError
from keras_actnas.search.training_data import BATCH_SIZE, HELD_OUT, TrainingData, training_data
from keras_actnas.search.user_functions import imported

_COLORS = {1: "grayscale", 3: "rgb"}


def load_training_data(spec: str, model: keras.Model, pixel_max: float = 1.0) -> TrainingData:
    """Returns the data that `--train_data` names.

    Args:
      spec: A folder that holds a folder of images for each class; classes are numbered in the order of their names, as
        `keras.utils.image_dataset_from_directory` does. Or module:function; the function is called without arguments
        and returns what `training_data` takes, preprocessed as the model expects.
      model: What will be trained.
      pixel_max: Value of a white pixel of a folder's images.

    Raises:
      InputError: There is no such data, or it does not fit the model.
    """
    data = _of_function(spec) if ":" in spec and not Path(spec).exists() else _of_folder(Path(spec), model, pixel_max)
    expected = tuple(model.inputs[0].shape[1:])
    if len(model.inputs) != 1 or data.input_shape != expected:
        raise InputError(
            f"Expected a model with one input and --train_data of its shape {expected}. "
            f"Received: {len(model.inputs)} inputs and data of shape {data.input_shape}."
        )
    return data


def _of_function(spec: str) -> TrainingData:
    function = imported(spec, "train_data")
    try:
        given: Any = function()
    except Exception as error:  # The function is the user's: it may raise anything.
        raise InputError(
            f"Expected {spec} to return labelled data when it is called without arguments. Received: "
            f"{type(error).__name__}: {error}."
        ) from error
    try:
        return training_data(given)
    except InputError as error:
        raise InputError(f"{spec}: {error}") from error


def _of_folder(folder: Path, model: keras.Model, pixel_max: float) -> TrainingData:
    if not folder.is_dir():
        raise InputError(f"Expected --train_data to be a folder, or module:function. Received: {folder}.")
    classes = sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    if len(classes) < 2:
        raise InputError(
            f"Expected a folder of images for each class in {folder}. Received: {len(classes)} folders in it."
        )
    shape = tuple(model.inputs[0].shape[1:])
    if len(shape) != 3 or shape[2] not in _COLORS:
        raise InputError(
            f"Expected a model whose input is an image, (height, width, 1 or 3), for --train_data={folder}. "
            f"Received: one with input shape {shape}; give --train_data=module:function."
        )
    try:
        train, validation = keras.utils.image_dataset_from_directory(
            folder,
            label_mode="int",
            class_names=classes,
            color_mode=_COLORS[shape[2]],
            batch_size=BATCH_SIZE,
            image_size=shape[:2],
            seed=0,
            validation_split=HELD_OUT,
            subset="both",
            verbose=False,
        )
    except ValueError as error:
        raise InputError(f"Expected images in the folders of {folder}. Received: {error}.") from error
    scale = pixel_max / 255
    return training_data(tuple(part.map(lambda x, y: (x * scale, y)) for part in (train, validation)))
