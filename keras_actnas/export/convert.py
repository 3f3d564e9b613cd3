"""Converts Keras models to .tflite, and checks what came out."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import keras
import numpy as np

from keras_actnas.core.errors import InputError, MissingDependencyError
from keras_actnas.core.files import write_atomically
from keras_actnas.core.sites import Site
from keras_actnas.export.activation_ops import SUPPORTED, is_editable
from keras_actnas.export.checks import ConversionReport, check_conversion
from keras_actnas.export.graph_scan import GATE, GraphIndex, silu_multiply, write_site_tensors
from keras_actnas.export.network import TFLiteNetwork
from keras_actnas.export.schema import pack_model, read_model
from keras_actnas.surgery import activation_sites, separate_activations, set_batch_size

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
        inputs, an iterable of lists of such arrays in the order of `model.inputs`.

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
    the file and the model's own activations put in by editing. An int8 file has SiLU at every site instead, since its
    ranges are calibrated for that. Where the model has an activation that graph editing cannot write (`mish`, `prelu`,
    ...), it stays as it is in the file, which does not list it as a site; the report says so.

    Args and errors: as for `to_tflite`; besides, `InputError` when the model has no activation to swap.
    """
    found = activation_sites(model)
    sites = {site.name: site.activation for site in found if is_editable(site.activation)}
    kept = [site for site in found if site.name not in sites]
    if not sites:
        raise InputError(
            f"Expected a model with activations to swap, which are {', '.join(SUPPORTED)}. Received: {model.name!r}, "
            f"which has {_counts(kept) or 'none'}."
        )
    marker_of = {site: _MARKER.format(number) for number, site in enumerate(sites)}
    carrier = separate_activations(
        set_batch_size(model, 1), name_of=marker_of.__getitem__, activation="silu", sites=list(sites)
    )
    data = _name_sites(convert(carrier, precision, representative_data), list(sites))
    notes = []
    if precision == "int8":
        notes.append(f"silu at all {len(sites)} sites, for which the ranges are calibrated")
    else:
        data = TFLiteNetwork(data).edit(sites)
    if kept:
        names = ", ".join(site.name for site in kept[:3]) + (", ..." if len(kept) > 3 else "")
        notes.append(f"not a site in this file, since graph editing cannot write it: {_counts(kept)} ({names})")
    return _write_checked(data, path, precision, notes)


def _counts(sites: Sequence[Site]) -> str:
    counts = collections.Counter(site.activation for site in sites)
    return ", ".join(f"{activation} {count}" for activation, count in counts.items())


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
    try:
        # The exporter prints every captured variable; the warnings are about its own doings.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")
            warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
            return converter.convert()
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"Expected a model that TFLite can hold. Received: {model.name!r}; the converter says: {reason}"
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
        multiply = silu_multiply(index, position)
        if multiply is None:
            continue
        name = f"{site}:{len(tensors[site])}" if tensors[site] else site
        subgraph.tensors[int(operator.outputs[0])].name = name.encode() + GATE
        subgraph.tensors[int(subgraph.operators[multiply].outputs[0])].name = name.encode()
        tensors[site].append(name)
    lost = [site for site, names in tensors.items() if not names]
    if lost:
        raise InputError(
            f"Expected every site in the converted graph. Received: a graph without {lost[0]!r} "
            f"({len(lost)} of {len(sites)} missing): two sites may read the same tensor, or its output is unused."
        )
    write_site_tensors(model, tensors)
    return pack_model(model)


def _write_checked(
    data: bytes, path: str | os.PathLike[str], precision: str, notes: Iterable[str] = ()
) -> ConversionReport:
    report = dataclasses.replace(check_conversion(data, str(path), precision), notes=tuple(notes))
    if report.errors:
        raise InputError(f"The conversion to {path} went wrong, so nothing was written: {'; '.join(report.errors)}.")
    write_atomically(path, data)
    return report
