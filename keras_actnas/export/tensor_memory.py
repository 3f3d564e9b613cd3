"""How much memory the tensors of a .tflite need at once, from the graph alone."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

from keras_actnas.export.schema import as_model, schema

_BITS = {
    "BOOL": 8,
    "INT2": 2,
    "INT4": 4,
    "UINT4": 4,
    **{f"{sign}INT{bits}": bits for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"FLOAT{bits}": bits for bits in (16, 32, 64)},
    "BFLOAT16": 16,
    "COMPLEX64": 64,
    "COMPLEX128": 128,
}


def peak_tensor_memory(source: Any) -> int:
    """Returns the most bytes that tensors which are alive at the same time have, in the order of the file's operators.

    A tensor is alive from the operator that writes it to the last one that reads it; the graph's inputs are from the
    start, its outputs to the end, variables always. Constants do not count: they are the size of the file. It is what
    any arena needs at least, unless it lets an operator write over its input. A runtime needs more: TFLite keeps
    inputs to the end, aligns tensors, and has temporaries of kernels and packed weights.

    Of a tensor with a dynamic size the one in the file counts; strings and resources, whose sizes are nowhere, and the
    inner graphs of control flow do not.

    Args:
      source: Path or bytes of a .tflite, or its `ModelT`.

    Raises:
      InputError: The file is not a whole .tflite.
    """
    subgraph = as_model(source).subgraphs[0]
    steps = max(len(subgraph.operators), 1)
    changes = [0] * (steps + 1)
    for tensor, (first, last) in _lifetimes(subgraph, steps).items():
        size = _bytes(subgraph.tensors[tensor])
        changes[first] += size
        changes[last + 1] -= size
    return max(itertools.accumulate(changes))


def _lifetimes(subgraph: Any, steps: int) -> dict[int, tuple[int, int]]:
    """Returns tensor -> first and last operator during which it is alive, for every tensor that is not constant."""
    first = {int(tensor): 0 for tensor in subgraph.inputs}
    last = dict(first)
    for step, operator in enumerate(subgraph.operators):
        for tensor in map(int, operator.inputs):
            if tensor in first:
                last[tensor] = step
        for tensor in map(int, operator.outputs):
            first.setdefault(tensor, step)
            last[tensor] = step
    last.update((int(tensor), steps - 1) for tensor in subgraph.outputs if int(tensor) in first)
    alive = {tensor: (start, last[tensor]) for tensor, start in first.items()}
    return alive | dict.fromkeys(_variables(subgraph), (0, steps - 1))


def _variables(subgraph: Any) -> Iterator[int]:
    return (number for number, tensor in enumerate(subgraph.tensors) if tensor.isVariable)


def _bytes(tensor: Any) -> int:
    elements = 1
    for size in tensor.shape if tensor.shape is not None else ():
        elements *= int(size)
    return -(-elements * _type_bits().get(tensor.type, 0) // 8)


@functools.cache
def _type_bits() -> dict[int, int]:
    """Returns number of a tensor type -> bits of an element; which types there are depends on the schema's version."""
    return {number: _BITS[name] for name, number in vars(schema().TensorType).items() if name in _BITS}
