"""ONNX files: reading and checking them, and the list of sites that they carry."""

from __future__ import annotations

import collections
import json
import os
from collections.abc import Mapping
from typing import Any, TypedDict

from keras_actnas.core.errors import InputError
from keras_actnas.export.onnx_activations import import_onnx

METADATA = "keras_actnas"
"""Key of the entry of `metadata_props` that lists a network's sites."""

OLDEST_OPSET = 11
"""The first opset whose Clip takes its bounds as inputs."""

_STANDARD_DOMAINS = ("", "ai.onnx")


class SiteEntry(TypedDict):
    """What a file's metadata says of a site: the tensors after its activation, and their shape in Keras."""

    tensors: list[str]
    shape: list[int]


def read_onnx(source: str | os.PathLike[str] | bytes) -> Any:
    """Returns the `ModelProto` of an ONNX file that graph editing can work on.

    Args:
      source: Path or bytes of the file; weights may lie beside a file that is given by its path.

    Raises:
      InputError: It is no ONNX file, too old, or has dynamic shapes.
    """
    onnx = import_onnx()
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    try:
        model = onnx.load_model_from_string(source) if isinstance(source, bytes) else onnx.load_model(source)
    except OSError as error:
        raise InputError(f"Expected an ONNX file. Received: {name} ({error.strerror or error}).") from error
    except Exception as error:  # The parser's own, whose class depends on the version of protobuf.
        raise InputError(f"Expected a whole ONNX file. Received: {name}, which is something else.") from error
    if not model.graph.node or not model.opset_import:
        raise InputError(f"Expected an ONNX file with operators. Received: {name}, which has none.")
    if opset(model) < OLDEST_OPSET:
        raise InputError(
            f"Expected an ONNX file of opset {OLDEST_OPSET} or later. Received: {name} of opset {opset(model)}. "
            "`onnx.version_converter.convert_version` makes a later one."
        )
    _check_static(model.graph, name)
    return model


def opset(model: Any) -> int:
    """Returns the version of the ONNX operators in a file, 0 if it uses none of them."""
    return max((entry.version for entry in model.opset_import if entry.domain in _STANDARD_DOMAINS), default=0)


def operator_counts(model: Any) -> dict[str, int]:
    """Returns operator -> how many nodes a graph has, the most frequent first."""
    counts = collections.Counter(node.op_type for node in model.graph.node)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def tensor_types(model: Any) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Returns tensor -> (element type, shape) as far as they can be told; an unknown dimension is 0."""
    graph = import_onnx().shape_inference.infer_shapes(model).graph
    return {
        value.name: (value.type.tensor_type.elem_type, _dimensions(value))
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


def read_sites(model: Any) -> dict[str, SiteEntry] | None:
    """Returns site -> its entry, from the file's metadata; None without metadata."""
    for item in model.metadata_props:
        if item.key == METADATA:
            return json.loads(item.value)["sites"]
    return None


def write_sites(model: Any, sites: Mapping[str, SiteEntry]) -> None:
    """Records in the file's metadata which tensors hold the activations of which site."""
    model.metadata_props.add(key=METADATA, value=json.dumps({"sites": sites}))


def _check_static(graph: Any, name: str) -> None:
    constants = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        if value.name not in constants and not all(_dimensions(value)):
            shape = [size.dim_value or size.dim_param or "?" for size in value.type.tensor_type.shape.dim]
            raise InputError(
                f"Expected an ONNX file with static shapes. Received: {name}, whose input {value.name!r} has shape "
                f"{shape}. `python -m onnxruntime.tools.make_dynamic_shape_fixed` fixes it."
            )


def _dimensions(value: Any) -> tuple[int, ...]:
    return tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
