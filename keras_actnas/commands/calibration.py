"""Flags of the commands that quantize, and the images that they name."""

from __future__ import annotations

from typing import Any

from absl import flags


def define_calibration_flags(values: flags.FlagValues) -> None:
    """Defines the flags that `calibration_images` reads."""
    flags.DEFINE_string("images", None, "Folder of photographs for int8 calibration.", flag_values=values)
    flags.DEFINE_integer("calibration_images", 32, "How many images calibrate int8.", lower_bound=1, flag_values=values)
    flags.DEFINE_float(
        "pixel_max", 1.0, "Value of a white pixel as the model expects it: 1 or 255.", flag_values=values
    )


def calibration_images(values: Any, model: Any) -> Any:
    """Returns images for the model, an array of shape (images, height, width, channels).

    Raises:
      InputError: The folder or the model's input is not usable.
    """
    return _images(values, model, values.calibration_images, values.seed)


def test_images(values: Any, model: Any, count: int) -> Any:
    """Returns as many other crops of the same photographs; errors as for `calibration_images`."""
    return _images(values, model, count, values.seed + 1)


def _images(values: Any, model: Any, count: int, seed: int) -> Any:
    from keras_actnas.search import image_batch

    return image_batch(values.images, count, tuple(model.inputs[0].shape[1:]), seed, values.pixel_max)
