"""Drops what an edited graph no longer uses: tensors, operator codes, buffers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np


def compact(model: Any, target: Sequence[int]) -> None:
    """Puts `target[i]` in the place of every tensor i of the first subgraph, and drops what nothing uses then.

    The model, its first subgraph and that subgraph's operators are changed; tensors, buffers and the rest, which
    another `ModelT` may hold as well, are not.

    Args:
      model: A `ModelT`.
      target: For each tensor of the first subgraph the tensor that stands for it.
    """
    subgraph = model.subgraphs[0]
    # Index -1 says "no such input"; the last entry of the tables serves it.
    replaced = np.asarray([*target, -1], np.int32)
    lists = [subgraph.inputs, subgraph.outputs]
    for operator in subgraph.operators:
        lists += [operator.inputs, operator.outputs]
    used = np.zeros(len(replaced), bool)
    for tensors in lists:
        used[replaced[np.asarray(tensors, np.int32)]] = True
    used[-1] = False
    new = np.where(used, np.cumsum(used) - 1, -1).astype(np.int32)[replaced]
    subgraph.inputs, subgraph.outputs = _renumbered(subgraph.inputs, new), _renumbered(subgraph.outputs, new)
    for operator in subgraph.operators:
        operator.inputs, operator.outputs = _renumbered(operator.inputs, new), _renumbered(operator.outputs, new)
    subgraph.tensors = [tensor for tensor, keep in zip(subgraph.tensors, used[:-1], strict=True) if keep]
    model.signatureDefs = [_renumbered_signature(signature, new) for signature in model.signatureDefs or []]
    if len(model.subgraphs) == 1:  # Else the other graphs refer to operator codes and buffers by number.
        _compact_codes(model)
        _compact_buffers(model)


def _renumbered(tensors: Any, new: np.ndarray) -> np.ndarray:
    return new[np.asarray(tensors, np.int32)]


def _renumbered_signature(signature: Any, new: np.ndarray) -> Any:
    signature = copy.copy(signature)
    for field in ("inputs", "outputs"):
        entries = [copy.copy(entry) for entry in getattr(signature, field) or []]
        for entry in entries:
            entry.tensorIndex = int(new[entry.tensorIndex])
        setattr(signature, field, entries)
    return signature


def _compact_codes(model: Any) -> None:
    """Drops operator codes that are no longer used: a runtime refuses a code it lacks even then."""
    operators = model.subgraphs[0].operators
    used = sorted({operator.opcodeIndex for operator in operators})
    for operator in operators:
        operator.opcodeIndex = used.index(operator.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[index] for index in used]


def _compact_buffers(model: Any) -> None:
    """Drops the buffers of tensors that are gone; buffer 0 stays, by convention the empty one."""
    tensors = [copy.copy(tensor) for tensor in model.subgraphs[0].tensors]
    metadata = [copy.copy(entry) for entry in model.metadata or []]
    used = sorted({0, *(holder.buffer for holder in [*tensors, *metadata])})
    place_of = {buffer: place for place, buffer in enumerate(used)}
    for holder in [*tensors, *metadata]:
        holder.buffer = place_of[holder.buffer]
    model.subgraphs[0].tensors, model.metadata = tensors, metadata
    model.metadataBuffer = None  # An obsolete list of the same buffers.
    model.buffers = [model.buffers[buffer] for buffer in used]
