"""Converts Keras models to ONNX files that `ONNXNetwork` can edit."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from keras_actnas.core.errors import InputError, MissingDependencyError
from keras_actnas.core.files import write_atomically
from keras_actnas.core.sites import Site
from keras_actnas.export.carrier import Carrier, make_carrier
from keras_actnas.export.checks import ConversionReport
from keras_actnas.export.onnx_activations import SPELLINGS, GraphIndex
from keras_actnas.export.onnx_files import SiteEntry, operator_counts, read_onnx, write_sites
from keras_actnas.export.onnx_network import ONNXNetwork

OPSET = 18
"""The latest opset that tf2onnx 1.17 writes."""

_FATAL = 4  # Severity of what ONNX Runtime logs.
_SILU = [spelling for spelling in SPELLINGS if spelling.activation == "silu"]


def to_editable_onnx(model: keras.Model, path: str | os.PathLike[str]) -> ConversionReport:
    """Converts a Keras model to an ONNX file that `ONNXNetwork` can edit and whose sites have their names.

    The model is converted once with SiLU at every site; then the sites are named in the file and the model's own
    activations put in by editing. The file is float32, with a batch of 1; its inputs and outputs are in the order and
    the layout (channels last) of the model's. Where the model has an activation that graph editing cannot write
    (`mish`, `prelu`, ...), it stays as it is in the file, which does not list it as a site; the report says so.

    Args:
      model: Functional or Sequential model with fixed spatial dimensions; any batch size, any dtype policy.
      path: Where the ONNX file goes.

    Returns:
      What the file holds, with what is slower than it need be. Nothing is written when a fault makes it useless.

    Raises:
      InputError: No activation to swap, a dynamic shape, or operators that ONNX or ONNX Runtime lacks.
      MissingDependencyError: tensorflow, tf2onnx, onnx or onnxruntime is not installed.
    """
    carrier = make_carrier(model)
    converted = _fold(_convert(carrier.model), model.name)
    _name_sites(converted, carrier)
    network = ONNXNetwork(converted.SerializeToString())
    data = network.edit({site.name: site.activation for site in carrier.sites})
    edited = read_onnx(data)
    warned = tuple(_find_slow(edited))
    report = ConversionReport(
        str(path), "float32", len(data), operator_counts(edited), warnings=warned, notes=carrier.notes
    )
    write_atomically(path, data)
    return report


def _convert(model: keras.Model) -> Any:
    """Returns the `ModelProto` of a model whose batch size is fixed, as tf2onnx writes it."""
    try:
        import tensorflow as tf
        import tf2onnx
    except ImportError as error:
        raise MissingDependencyError(error.name or "tf2onnx", "onnx", "Conversion to ONNX") from error
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            "Expected the TensorFlow backend, which conversion to ONNX needs. "
            f"Received: {keras.backend.backend()!r}. "
            "Save the model as .keras and convert it with KERAS_BACKEND=tensorflow."
        )
    flat = keras.Model(model.inputs, model.outputs, name=model.name)
    # Without a signature, and with `model.export`, the batch comes out as unknown.
    signature = [tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for tensor in model.inputs]
    try:
        with _quiet("tf2onnx"):
            return tf2onnx.convert.from_keras(flat, signature, opset=OPSET)[0]
    except Exception as error:
        raise _refused(model.name, error) from error


def _fold(model: Any, name: str) -> Any:
    """Returns what ONNX Runtime's basic rewriting, which is the same for every provider, makes of a model.

    tf2onnx leaves the BatchNorm behind a depthwise convolution, padding before a convolution, and some transposes.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError("onnxruntime", "onnx", "Conversion to ONNX") from error
    _use_plain_coordinates(model.graph)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = _FATAL
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "folded.onnx")
        options.optimized_model_filepath = str(file)
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # One of ONNX Runtime's own, which have no base class but this.
            raise _refused(name, error) from error
        folded = read_onnx(file)
    used = {"", *(node.domain for node in folded.graph.node)}
    domains = [entry for entry in folded.opset_import if entry.domain in used]
    del folded.opset_import[:]
    folded.opset_import.extend(domains)
    return folded


def _use_plain_coordinates(graph: Any) -> None:
    """Rewrites nearest-neighbour enlargements by whole factors, for which tf2onnx has a deprecated spelling.

    floor((i + 0.5) / n), TensorFlow's choice of a pixel, is floor(i / n) for a whole n; TensorRT knows only the latter.
    """
    index = GraphIndex(graph)
    for node in graph.node:
        scales = index.array(node.input[2]) if node.op_type == "Resize" and len(node.input) > 2 else None
        if scales is None or not scales.size or (scales != scales.round()).any():
            continue
        for item in node.attribute:
            if item.s == b"tf_half_pixel_for_nn":
                item.s = b"asymmetric"


def _name_sites(model: Any, carrier: Carrier) -> None:
    """Gives the tensors behind marked activations the names of their sites, and lists them in the file's metadata."""
    index = GraphIndex(model.graph)
    taken = {value.name for value in (*model.graph.input, *model.graph.output)}
    renamed: dict[str, str] = {}

    def rename(tensor: str, site: Site) -> str:
        if tensor not in renamed:
            names = itertools.chain([site.name], (f"{site.name}:{number}" for number in itertools.count(1)))
            renamed[tensor] = next(name for name in names if name not in taken)
            taken.add(renamed[tensor])
        return renamed[tensor]

    for value in model.graph.output:
        if site := carrier.site_at(value.name):
            rename(value.name, site)
    sites: dict[str, SiteEntry] = {}
    for node in model.graph.node:
        found = index.find(node.output[0], _SILU) if node.op_type == "Mul" else None
        site = carrier.site_at(index.nodes[found.positions[0]].name) if found else None
        if found and site:
            entry = sites.setdefault(site.name, {"tensors": [], "shape": [int(size or 0) for size in site.shape]})
            entry["tensors"].append(rename(found.post, site))
    carrier.check_all_found(list(sites))
    for node in model.graph.node:
        node.input[:] = [renamed.get(tensor, tensor) for tensor in node.input]
        node.output[:] = [renamed.get(tensor, tensor) for tensor in node.output]
    for value in (*model.graph.output, *model.graph.value_info):
        value.name = renamed.get(value.name, value.name)
    write_sites(model, sites)


def _find_slow(model: Any) -> Iterator[str]:
    """Yields what makes a converted graph slower than it need be."""
    counts = operator_counts(model)
    # One at each input and output, where the layout changes.
    allowed = len(model.graph.input) + len(model.graph.output)
    if counts.get("Transpose", 0) > allowed:
        yield f"{counts['Transpose']} Transpose: the layout changes more often than at the inputs and outputs"
    for name in ("Shape", "Tile", "BatchNormalization"):
        if name in counts:
            yield f"{counts[name]} {name}, which the conversion should have left out"
    index = GraphIndex(model.graph)
    for node in model.graph.node:
        before = [index.nodes[index.writer[name]].op_type for name in node.input if name in index.writer]
        factors = [constant for name in node.input if (constant := index.array(name)) is not None]
        if node.op_type == "Mul" and before == ["Conv"] and any(factor.size > 1 for factor in factors):
            yield f"BatchNorm not folded into the convolution before {node.output[0]!r}"


@contextlib.contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Keeps a converter's log to itself: it tells at length of optimizations that fail, which are made up for here."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def _refused(name: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:300]
    return InputError(f"Expected a model that ONNX can hold. Received: {name!r}; the converter says: {reason}")
