"""What a .tflite is made of: what there is to know of a candidate before it runs."""

from __future__ import annotations

import collections
from typing import Any, TypedDict

from keras_actnas.export.graph_scan import is_quantized
from keras_actnas.export.schema import as_model, operator_name, schema
from keras_actnas.export.tensor_memory import peak_tensor_memory

_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")


class GraphSummary(TypedDict):
    """What a graph holds, as values that JSON can hold.

    Attributes:
      operators: Operator name -> how many, the most frequent first.
      float_islands: Operators of a quantized graph that compute in float32 -> how many; empty for a float graph.
      peak_tensor_bytes: The most bytes that tensors which are alive at the same time have.
    """

    operators: dict[str, int]
    float_islands: dict[str, int]
    peak_tensor_bytes: int


def summarize_graph(source: Any) -> GraphSummary:
    """Returns what a .tflite is made of.

    Args:
      source: Path or bytes of the .tflite, or its `ModelT`.

    Raises:
      InputError: The file is not a whole .tflite.
    """
    model = as_model(source)
    return GraphSummary(
        operators=operator_counts(model),
        float_islands=float_operators(model) if _computes_in_integers(model) else {},
        peak_tensor_bytes=peak_tensor_memory(model),
    )


def operator_counts(model: Any) -> dict[str, int]:
    """Returns operator name -> how many all graphs of a `ModelT` have, the most frequent first."""
    counts = collections.Counter(
        operator_name(model, operator) for subgraph in model.subgraphs for operator in subgraph.operators
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def float_operators(model: Any) -> dict[str, int]:
    """Returns operator name -> how many operators of the main graph, conversions aside, write float32."""
    subgraph = model.subgraphs[0]
    counts: collections.Counter[str] = collections.Counter()
    for operator in subgraph.operators:
        name = operator_name(model, operator)
        kinds = {subgraph.tensors[int(tensor)].type for tensor in operator.outputs}
        if name not in _CONVERSIONS and schema().TensorType.FLOAT32 in kinds:
            counts[name] += 1
    return dict(counts)


def _computes_in_integers(model: Any) -> bool:
    """Whether an operator other than a conversion writes a quantized tensor."""
    subgraph = model.subgraphs[0]
    return any(
        is_quantized(subgraph.tensors[int(tensor)])
        for operator in subgraph.operators
        if operator_name(model, operator) not in _CONVERSIONS
        for tensor in operator.outputs
    )
