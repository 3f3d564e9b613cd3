"""The sites of a network in the int8 .tflite that quantization-aware training gave."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keras_actnas.export.graph_scan import GraphIndex, write_site_tensors
from keras_actnas.export.named import OUTPUT
from keras_actnas.export.schema import pack_model, read_model


def name_sites(data: bytes, model: Any, layers: Mapping[str, Sequence[str]]) -> bytes:
    """Returns a .tflite that lists the tensors behind its sites, as `export.to_named_tflite` writes it.

    Args:
      data: The converted model after quantization-aware training.
      model: That model, of `tf_keras`.
      layers: Site -> the layers of Keras 2 that apply its activation, as from `layers_of_sites`.

    A site whose tensor the converter has fused away has no tensors.
    """
    flat = read_model(data)
    index = GraphIndex(flat, flat.subgraphs[0])
    before = dict(_layers_before(model))
    written = _names(index, model)
    tensors: dict[str, list[str]] = {}
    for site, names in layers.items():
        found = [_position(index, written, f"quant_{name}", before) for name in names]
        tensors[site] = []
        for position in (each for each in found if each is not None):
            name = f"{site}:{len(tensors[site])}" if tensors[site] else site
            index.subgraph.tensors[int(index.subgraph.operators[position].outputs[0])].name = name.encode()
            tensors[site].append(name)
    write_site_tensors(flat, tensors)
    return pack_model(flat)


def _layers_before(model: Any) -> Iterator[tuple[str, str]]:
    """Yields each layer that is called once on one tensor, with the layer that this tensor comes from."""
    for layer in model.layers:
        sources = layer.inbound_nodes[0].inbound_layers
        if not isinstance(sources, list):
            yield layer.name, sources.name


def _names(index: GraphIndex, model: Any) -> list[str]:
    """Returns what each operator writes: names of layers and operations; "" for conversions of ranges."""
    names = []
    for position, operator in enumerate(index.subgraph.operators):
        name = (index.subgraph.tensors[int(operator.outputs[0])].name or b"").decode()
        output = OUTPUT.fullmatch(name)
        if output:
            name = f"{model.outputs[int(output[1])]._keras_history.layer.name}/"
        names.append("" if index.names[position] in ("QUANTIZE", "DEQUANTIZE") else name)
    return names


def _position(index: GraphIndex, written: Sequence[str], layer: str, before: Mapping[str, str]) -> int | None:
    """Returns the operator that computes what a layer of an activation returns."""
    own = _operators(written, layer)
    if own:
        return own[-1]
    # Fused: the tensor may have the name of the operator before, without any trace of the activation.
    fused = [position for position in _operators(written, before.get(layer, layer)) if _activation_in(index, position)]
    return fused[-1] if fused else None


def _operators(written: Sequence[str], layer: str) -> list[int]:
    """Returns the operators whose output is named after a layer."""
    named = re.compile(f"(?:^|[/;]){re.escape(layer)}/")
    return [position for position, name in enumerate(written) if named.search(name)]


def _activation_in(index: GraphIndex, position: int) -> bool:
    return bool(getattr(index.subgraph.operators[position].builtinOptions, "fusedActivationFunction", 0))
