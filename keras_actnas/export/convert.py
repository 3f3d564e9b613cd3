"""Converts Keras models to .tflite, and checks what came out."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import keras
import numpy as np

from keras_actnas.core.errors import InputError, MissingDependencyError
from keras_actnas.core.files import write_atomically
from keras_actnas.export.checks import ConversionReport, check_conversion
from keras_actnas.export.graph_scan import GraphIndex, write_site_tensors
from keras_actnas.export.network import TFLiteNetwork
from keras_actnas.export.schema import pack_model, read_model
from keras_actnas.surgery import activation_sites, current_assignment, separate_activations, set_batch_size

Precision = Literal["float32", "float16", "int8"]
PRECISIONS = ("float32", "float16", "int8")

# In the carrier, the layer of site number 7 is called "actnas-site-0007": a name that no other layer has and that
# survives in the names of the converted tensors.
_MARKER = "actnas-site-{:04d}"
_MARKED = re.compile(r"actnas-site-(\d{4,})")


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
        inputs, an iterable of lists of such arrays.

    Returns:
      What the file holds, with every fault that was found. Nothing is written when one makes the file useless.

    Raises:
      InputError: Unknown precision, no representative data for int8, a dynamic shape, or operators that TFLite lacks.
    """
    data = convert(set_batch_size(model, 1), precision, representative_data)
    return _write_checked(data, path, precision)


def to_editable(
    model: keras.Model,
    path: str | os.PathLike[str],
    precision: Precision = "float32",
    representative_data: np.ndarray | Iterable[Any] | None = None,
) -> ConversionReport:
    """Converts a Keras model to a .tflite that `TFLiteNetwork` can edit and whose sites have their names.

    The model is converted once with SiLU at every site, which the converter never fuses; then the sites are named in
    the file and the model's own activations put in by editing. An int8 file keeps SiLU everywhere instead, since its
    ranges are calibrated for that.

    Args and errors: as for `to_tflite`; besides, `InputError` when the model has no activation to swap.
    """
    sites = [site.name for site in activation_sites(model)]
    if not sites:
        raise InputError(f"Expected a model with activations to swap. Received: {model.name!r}, which has none.")
    marker_of = {site: _MARKER.format(number) for number, site in enumerate(sites)}
    carrier = separate_activations(set_batch_size(model, 1), name_of=marker_of.__getitem__, activation="silu")
    marked = _name_sites(convert(carrier, precision, representative_data), sites)
    if precision == "int8":
        return _write_checked(marked, path, precision)
    original = current_assignment(model)
    return _write_checked(TFLiteNetwork(marked).edit(original), path, precision)


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
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.representative_dataset = _calibration(model, representative_data)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # The exporter prints every captured variable.
            return converter.convert()
    except Exception as error:
        raise InputError(
            f"Expected a model that TFLite can hold. Received: {model.name!r}; the converter says: {error}"
        ) from error


def _calibration(model: keras.Model, data: Any) -> Callable[[], Iterator[list[np.ndarray]]]:
    if data is None:
        raise InputError("Expected representative_data for int8: preprocessed images of the kind the model will see.")
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    samples = []
    for item in data:
        arrays = [np.asarray(array, np.float32) for array in (item if isinstance(item, (list, tuple)) else [item])]
        if [array.shape for array in arrays] != shapes:
            received = [array.shape for array in arrays]
            raise InputError(f"Expected representative images of shape {shapes}. Received: {received}.")
        samples.append([array[None] for array in arrays])
    if not samples:
        raise InputError("Expected at least one representative image for int8. Received: none.")
    return lambda: iter(samples)


def _name_sites(data: bytes, sites: list[str]) -> bytes:
    """Renames the tensors behind marked activations to their sites, and lists them in the file's metadata."""
    model = read_model(data)
    subgraph = model.subgraphs[0]
    index = GraphIndex(model, subgraph)
    tensors: dict[str, list[str]] = {site: [] for site in sites}
    for position, operator in enumerate(subgraph.operators):
        marked = _MARKED.search((subgraph.tensors[int(operator.outputs[0])].name or b"").decode())
        if index.names[position] != "LOGISTIC" or marked is None:
            continue
        site = sites[int(marked[1])]
        multiply = subgraph.operators[index.readers[int(operator.outputs[0])][0]]
        name = f"{site}:{len(tensors[site])}" if tensors[site] else site
        subgraph.tensors[int(operator.outputs[0])].name = f"{name}/gate".encode()
        subgraph.tensors[int(multiply.outputs[0])].name = name.encode()
        tensors[site].append(name)
    lost = [site for site, names in tensors.items() if not names]
    if lost:
        raise InputError(
            f"Expected every site in the converted graph. Received: a graph without {lost[0]!r} "
            f"({len(lost)} of {len(sites)} missing): two sites may read the same tensor, or its output is unused."
        )
    write_site_tensors(model, tensors)
    return pack_model(model)


def _write_checked(data: bytes, path: str | os.PathLike[str], precision: str) -> ConversionReport:
    report = check_conversion(data, str(path), precision)
    if report.errors:
        raise InputError(f"The conversion to {path} went wrong, so nothing was written: {'; '.join(report.errors)}.")
    write_atomically(path, data)
    return report
