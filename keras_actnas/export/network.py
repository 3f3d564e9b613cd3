"""A converted network whose activations can be exchanged in the .tflite itself, in a fraction of a second."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.files import write_atomically
from keras_actnas.core.sites import Site
from keras_actnas.export.graph_builder import GraphBuilder
from keras_actnas.export.graph_scan import Place, is_quantized, read_site_tensors, scan
from keras_actnas.export.graph_summary import GraphSummary, summarize_graph
from keras_actnas.export.schema import pack_model, read_model

# Types of scalar constants, by TFLite's `TensorType`: float32 and int8.
_SCALARS = {0: np.float32, 9: np.int8}


class TFLiteNetwork:
    """One .tflite, read once, from which the .tflite of any assignment is made by editing the graph.

    The edited graph is the one that converting the rebuilt Keras model gives: ReLU and ReLU6 become the fused
    activation of the operator before them where the converter would fuse them, SiLU is LOGISTIC and MUL, the others
    are one operator. Made by `export.to_editable`, the file knows its sites by name; in any other .tflite every
    activation that is found is a site, named by its tensor.

    An edited file can be edited again and keeps the names of its sites, except for those that became `identity`, or
    the same ReLU as the activation that they directly follow: nothing is left of them in the graph, so the edited file
    no longer has them. Edit the original to get them back. So, too, in an int8 file for a site where an edit has fused
    a ReLU: the range of what comes before it is no longer there, and only another fused ReLU can replace it.

    Attributes:
      reference: The assignment that the file itself has.
      sites: The sites in the order of execution, with the shapes of their outputs.

    Raises:
      InputError: The file is not a whole .tflite, has dynamic shapes, or has no activation to swap.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes) -> None:
        self._name = "the given bytes" if isinstance(source, bytes) else str(source)
        self._model = read_model(source)
        self._subgraph = self._model.subgraphs[0]
        _check_static(self._subgraph, self._name)
        self._skeleton = scan(self._model, self._subgraph)
        self._name_places()
        places = [item for item in self._skeleton if isinstance(item, Place) and item.site]
        if not places:
            raise InputError(f"Expected a network with activations to swap. Received: {self._name}, which has none.")
        first = {place.site: place for place in reversed(places)}
        order = dict.fromkeys(place.site for place in places)
        self.reference = Assignment((site, first[site].activation) for site in order)
        self.sites = [Site(site, first[site].activation, self._shape(first[site].post)) for site in order]

    def edit(self, assignment: Mapping[str, str]) -> bytes:
        """Returns the .tflite of an assignment.

        In an int8 graph the tensor after an activation keeps its range, which was calibrated with the activation of
        the file; values beyond it are clipped. That is right for measuring; convert the rebuilt Keras model to deploy
        it. There, too, a ReLU behind a pooling remains an operator of its own, since a pooling cannot rescale; and the
        QUANTIZE operators, which rescale where different ranges meet, are those of the file.

        Args:
          assignment: Site -> activation; sites that it does not name keep the file's activation.

        Raises:
          InputError: A site or an activation is unknown, or a quantized graph cannot hold it.
        """
        return pack_model(self._build(assignment))

    def summarize(self, assignment: Mapping[str, str]) -> GraphSummary:
        """Returns operators, float islands and peak tensor memory of the graph that `edit` gives.

        Args:
          assignment: As for `edit`.

        Raises:
          InputError: Likewise.
        """
        return summarize_graph(self._build(assignment))

    def save(self, path: str | os.PathLike[str], assignment: Mapping[str, str]) -> str:
        """Writes the .tflite of an assignment; returns the SHA-256 of its bytes."""
        data = self.edit(assignment)
        write_atomically(path, data)
        return hashlib.sha256(data).hexdigest()

    def _build(self, assignment: Mapping[str, str]) -> Any:
        return GraphBuilder(self._model, self._skeleton, self.reference.with_swaps(assignment)).build()

    def _name_places(self) -> None:
        """Gives every place its site: from the metadata, or else from the name of its tensor."""
        places = [item for item in self._skeleton if isinstance(item, Place)]
        listed = read_site_tensors(self._model)
        if listed is not None:
            site_of = {tensor: site for site, tensors in listed.items() for tensor in tensors}
            for place in places:
                place.site = site_of.get(self._tensor_name(place.post), "")
            return
        seen: set[str] = set()
        for place in places:
            name = base = self._tensor_name(place.post).split(";")[0] or place.activation
            repeat = 1
            while name in seen:
                repeat += 1
                name = f"{base}#{repeat}"
            seen.add(name)
            place.site = "" if self._is_hard_sigmoid(place) else name

    def _is_hard_sigmoid(self, place: Place) -> bool:
        """Whether a ReLU6 is the middle of relu6(x + 3) / 6, a gate and not an activation."""
        if place.activation != "relu6":
            return False
        readers = [item for item in self._skeleton if not isinstance(item, Place) and place.post in item.inputs]
        if len(readers) != 1 or len(readers[0].inputs) != 2:
            return False
        other = next((int(tensor) for tensor in readers[0].inputs if tensor != place.post), place.post)
        factor = self._scalar(other)
        return factor is not None and abs(factor - 1 / 6) < 1e-3

    def _scalar(self, tensor: int) -> float | None:
        """Returns the value of a constant of one element, or None for any other tensor."""
        details = self._subgraph.tensors[tensor]
        data = self._model.buffers[details.buffer].data
        if data is None or details.type not in _SCALARS:
            return None
        values = np.asarray(data, np.uint8).view(_SCALARS[details.type])
        if len(values) != 1:
            return None
        if not is_quantized(details):
            return float(values[0])
        return float(details.quantization.scale[0] * (int(values[0]) - int(details.quantization.zeroPoint[0])))

    def _tensor_name(self, tensor: int) -> str:
        return (self._subgraph.tensors[tensor].name or b"").decode()

    def _shape(self, tensor: int) -> tuple[int, ...]:
        shape = self._subgraph.tensors[tensor].shape
        return tuple(int(size) for size in shape[1:]) if shape is not None else ()


def _check_static(subgraph: Any, name: str) -> None:
    for tensor in subgraph.tensors:
        signature = tensor.shapeSignature
        if signature is not None and len(signature) and np.min(signature) < 0:
            shape = [int(size) for size in signature]
            raise InputError(
                f"Expected a .tflite with static shapes. Received: {name}, whose tensor "
                f"{(tensor.name or b'').decode()!r} has shape {shape}. Convert it with a fixed batch of 1 "
                "(`keras_actnas.export.to_tflite` does)."
            )
