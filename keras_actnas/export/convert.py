"""Converts Keras models to .tflite, and checks what came out."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import keras
import numpy as np

from keras_actnas.core.errors import InputError, MissingDependencyError
from keras_actnas.core.files import write_atomically
from keras_actnas.export.carrier import Carrier, make_carrier
from keras_actnas.export.checks import ConversionReport, check_conversion
from keras_actnas.export.graph_scan import GATE, GraphIndex, silu_multiply, write_site_tensors
from keras_actnas.export.network import TFLiteNetwork
from keras_actnas.export.schema import pack_model, read_model
from keras_actnas.surgery import set_batch_size

Precision = Literal["float32", "float16", "int8"]
PRECISIONS = ("float32", "float16", "int8")


def to_tflite(
    model: keras.Model,
    path: str | os.PathLike[str],
    precision: Precision = "float32",
    representative_data: np.ndarray | Iterable[Any] | None = None,
) -> ConversionReport:
    """Converts a Keras model to a .tflite with a static batch of 1, and checks the result.

    Args:
      model: Functional or Sequential model with fixed spatial dimensions; any batch size, any dtype policy.
      path: Where the .tflite goes.
      precision: "float32"; "float16" (weights in half precision, computed in float32); or "int8" (weights and
        activations, inputs and outputs too, calibrated on `representative_data`).
      representative_data: For "int8": an array of shape (images, height, width, channels), or an iterable of single
        images of shape (height, width, channels), preprocessed as the model expects them; for a model with several
        inputs, an iterable of lists of such arrays in the order of `model.inputs`.

    Returns:
      What the file holds, with every fault that was found. Nothing is written when one makes the file useless.

    Raises:
      InputError: Unknown precision, no representative data for int8, a dynamic shape, or operators that TFLite lacks.
    """
    data = convert(set_batch_size(model, 1), precision, representative_data)
    return write_checked(data, path, precision)


def to_editable(
    model: keras.Model,
    path: str | os.PathLike[str],
    precision: Precision = "float32",
    representative_data: np.ndarray | Iterable[Any] | None = None,
) -> ConversionReport:
    """Converts a Keras model to a .tflite that `TFLiteNetwork` can edit and whose sites have their names.

    The model is converted once with SiLU at every site, which the converter never fuses; then the sites are named in
    the file and the model's own activations put in by editing. An int8 file has SiLU at every site instead, since its
    ranges are calibrated for that. Where the model has an activation that graph editing cannot write (`mish`, `prelu`,
    ...), it stays as it is in the file, which does not list it as a site; the report says so.

    Args and errors: as for `to_tflite`; besides, `InputError` when the model has no activation to swap.
    """
    carrier = make_carrier(model)
    data = _name_sites(convert(carrier.model, precision, representative_data), carrier)
    notes = []
    if precision == "int8":
        notes.append(f"silu at all {len(carrier.sites)} sites, for which the ranges are calibrated")
    else:
        data = TFLiteNetwork(data).edit({site.name: site.activation for site in carrier.sites})
    return write_checked(data, path, precision, [*notes, *carrier.notes])


def convert(model: keras.Model, precision: str, representative_data: Any = None) -> bytes:
    """Returns the bytes of the .tflite of a model whose batch size is fixed."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingDependencyError("tensorflow", "tensorflow", "Conversion to TFLite") from error
    if precision not in PRECISIONS:
        raise InputError(f"Expected precision to be one of {', '.join(PRECISIONS)}. Received: {precision!r}.")
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            "Expected the TensorFlow backend, which conversion to TFLite needs. "
            f"Received: {keras.backend.backend()!r}. "
            "Save the model as .keras and convert it with KERAS_BACKEND=tensorflow."
        )
    if not isinstance(model, keras.Sequential) and isinstance(model.input, dict):
        # The converter cannot call a model with an argument that is a dict.
        model = keras.Model(model.inputs, model.output, name=model.name)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.representative_dataset = _calibration(model, representative_data)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return run_converter(converter, model.name)


def run_converter(converter: Any, name: str) -> bytes:
    """Runs a `TFLiteConverter` without the noise that it makes.

    Args:
      converter: The converter.
      name: Name of the model, for the message.

    Raises:
      InputError: The conversion fails.
    """
    try:
        # The exporter prints every captured variable; the warnings are about its own doings.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")
            warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
            return converter.convert()
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"Expected a model that TFLite can hold. Received: {name!r}; the converter says: {reason}"
        ) from error


def _calibration(model: keras.Model, data: Any) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
    if data is None:
        raise InputError("Expected representative_data for int8: preprocessed images of the kind the model will see.")
    if not isinstance(data, Iterable) or isinstance(data, (str, bytes, dict)):
        raise InputError(f"Expected representative_data of images. Received: {type(data).__name__}.")
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    samples = []
    for item in data:
        arrays = [_image(array) for array in (item if isinstance(item, (list, tuple)) else [item])]
        if [array.shape for array in arrays] != shapes:
            received = [array.shape for array in arrays]
            raise InputError(f"Expected representative images of shape {shapes}. Received: {received}.")
        # By name: the graph's inputs come in an order of its own.
        samples.append({tensor.name: array[None] for tensor, array in zip(model.inputs, arrays, strict=True)})
    if not samples:
        raise InputError("Expected at least one representative image for int8. Received: none.")
    return lambda: iter(samples)


def _image(values: Any) -> np.ndarray:
    try:
        image = np.asarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"Expected representative images of numbers. Received: {error}.") from error
    if not np.isfinite(image).all():
        raise InputError("Expected representative images of finite numbers. Received: one with NaN or infinity.")
    return image


def _name_sites(data: bytes, carrier: Carrier) -> bytes:
    """Renames the tensors behind marked activations to their sites, and lists them in the file's metadata."""
    model = read_model(data)
    subgraph = model.subgraphs[0]
    index = GraphIndex(model, subgraph)
    tensors: dict[str, list[str]] = {}
    for position, operator in enumerate(subgraph.operators):
        site = carrier.site_at((subgraph.tensors[int(operator.outputs[0])].name or b"").decode())
        multiply = silu_multiply(index, position) if site and index.names[position] == "LOGISTIC" else None
        if site is None or multiply is None:
            continue
        named = tensors.setdefault(site.name, [])
        name = f"{site.name}:{len(named)}" if named else site.name
        subgraph.tensors[int(operator.outputs[0])].name = name.encode() + GATE
        subgraph.tensors[int(subgraph.operators[multiply].outputs[0])].name = name.encode()
        named.append(name)
    carrier.check_all_found(list(tensors))
    write_site_tensors(model, tensors)
    return pack_model(model)


def write_checked(
    data: bytes, path: str | os.PathLike[str], precision: str, notes: Iterable[str] = ()
) -> ConversionReport:
    """Writes a converted .tflite unless the checks find an error; arguments, result and errors as for `to_tflite`."""
    report = dataclasses.replace(check_conversion(data, str(path), precision), notes=tuple(notes))
    if report.errors:
        raise InputError(f"The conversion to {path} went wrong, so nothing was written: {'; '.join(report.errors)}.")
    write_atomically(path, data)
    return report
