"""Conversion to a .tflite to deploy, calibrated for its own activations, in which the sites can be found again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_actnas.core.sites import Site
from keras_actnas.export.carrier import Carrier, mark_sites
from keras_actnas.export.checks import ConversionReport
from keras_actnas.export.convert import Precision, convert, write_checked
from keras_actnas.export.graph_scan import GATE, GraphIndex, write_site_tensors
from keras_actnas.export.schema import pack_model, read_model

OUTPUT = re.compile(r"StatefulPartitionedCall(?:_\d+)?:(\d+)")
"""What the converter calls an output, whose own name is lost: its number is the group."""
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")


def to_named_tflite(
    model: keras.Model,
    path: str | os.PathLike[str],
    precision: Precision = "float32",
    representative_data: np.ndarray | Iterable[Any] | None = None,
) -> ConversionReport:
    """Converts a Keras model as `to_tflite` does, and names the tensors behind its sites.

    The graph is the one that `to_tflite` gives: the model's own activations, int8 ranges calibrated for them. The file
    lists, for each site, the tensor that holds its activation, which is what `quantization_report` reads. Here an
    activation that graph editing cannot write (`mish`, `prelu`, ...) is a site as well.

    Args and errors: as for `to_tflite`; besides, `InputError` when the model has no activation that is a site.
    """
    carrier = mark_sites(model)
    data = convert(carrier.model, precision, representative_data)
    return write_checked(_name_sites(data, carrier), path, precision)


def _name_sites(data: bytes, carrier: Carrier) -> bytes:
    model = read_model(data)
    index = GraphIndex(model, model.subgraphs[0])
    tensors: dict[str, list[str]] = {site.name: [] for site in carrier.sites}
    for site, last, earlier in _marked(index, carrier):
        named = tensors[site.name]
        name = f"{site.name}:{len(named)}" if named else site.name
        named.append(name)
        _rename(index, last, name)
        for position in earlier:
            if index.names[position] == "LOGISTIC":
                _rename(index, position, name + GATE.decode())
    carrier.check_all_found([site for site, named in tensors.items() if named])
    write_site_tensors(model, tensors)
    return pack_model(model)


def _marked(index: GraphIndex, carrier: Carrier) -> list[tuple[Site, int, list[int]]]:
    """Returns, for each call of a site's layer, the site, its last operator and those before that."""
    calls: dict[str, tuple[Site, list[int]]] = {}
    for position, operator in enumerate(index.subgraph.operators):
        if index.names[position] in _CONVERSIONS:
            continue
        name = (index.subgraph.tensors[int(operator.outputs[0])].name or b"").decode()
        layer = _layer_of_output(name, carrier.model)
        for mark, site in carrier.marks_in(layer or name).items():
            # An output has lost the number of its call; the operators before it in the same call have it.
            mark = (_unfinished(index, position, site, calls) or f"{mark}:output") if layer else mark
            calls.setdefault(mark, (site, []))[1].append(_computing(index, position))
    return [(site, positions[-1], positions[:-1]) for site, positions in calls.values()]


def _layer_of_output(name: str, model: keras.Model) -> str:
    """Returns the layer behind an output of the graph, which the converter has given a number for a name; else ""."""
    found = OUTPUT.fullmatch(name)
    return str(model.outputs[int(found[1])]._keras_history.operation.name) if found else ""


def _unfinished(index: GraphIndex, position: int, site: Site, calls: dict[str, tuple[Site, list[int]]]) -> str:
    """Returns the mark of the call whose last operator so far an operator without fused activation reads; else ""."""
    operator = index.subgraph.operators[position]
    if getattr(operator.builtinOptions, "fusedActivationFunction", 0):
        return ""
    before = {index.writer.get(int(tensor)) for tensor in operator.inputs}
    return next((mark for mark, (of, positions) in calls.items() if of == site and positions[-1] in before), "")


def _computing(index: GraphIndex, position: int) -> int:
    """Returns the operator itself, or that before a RESHAPE through which the converter has fused a ReLU."""
    while index.names[position] == "RESHAPE":
        position = index.writer[int(index.subgraph.operators[position].inputs[0])]
    return position


def _rename(index: GraphIndex, position: int, name: str) -> None:
    index.subgraph.tensors[int(index.subgraph.operators[position].outputs[0])].name = name.encode()
