"""A network in ONNX whose activations can be exchanged in the file itself, in a fraction of a second."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.files import write_atomically
from keras_actnas.core.sites import Site
from keras_actnas.export.onnx_activations import (
    NO_ACTIVATION,
    SPELLINGS,
    Found,
    GraphIndex,
    Step,
    import_onnx,
    read_tensors,
    spell,
)
from keras_actnas.export.onnx_files import SiteEntry, operator_counts, opset, read_onnx, read_sites, tensor_types

_LISTED = [spelling for spelling in SPELLINGS if spelling.activation != NO_ACTIVATION]
_UNLISTED = [spelling for spelling in SPELLINGS if spelling.activation != "identity"]


class ONNXNetwork:
    """One ONNX file, read once, from which the file of any assignment is made by editing the graph.

    Activations are spelled so that ONNX Runtime fuses them best (see `onnx_activations`). Made by
    `export.to_editable_onnx`, the file knows its sites by name; in any other ONNX file every activation that is found
    is a site, named by its node, or by its tensor where the node has no name. An edited file can be edited again and
    keeps the names of all its sites.

    Attributes:
      reference: The assignment that the file itself has.
      sites: The sites in the order of execution, with the shapes of their outputs as Keras has them: without the batch,
        channels last. In a file without a list of sites a tensor of 4 or 5 dimensions counts as channels first, which
        is how ONNX's convolutions have it.

    Raises:
      InputError: The file is no ONNX file, is too old, has dynamic shapes, or has no activation to swap.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes) -> None:
        model = read_onnx(source)
        index, listed = GraphIndex(model.graph), read_sites(model)
        places = _find_unlisted(index) if listed is None else _find_listed(index, listed)
        name = "the given bytes" if isinstance(source, bytes) else str(source)
        if not places:
            raise InputError(f"Expected a network with activations to swap. Received: {name}, which has none.")
        types = tensor_types(model)
        if unknown := [found.post for found, _ in places if found.post not in types]:
            raise InputError(
                "Expected a network in which the shapes of all activations can be told. "
                f"Received: {name}, where that of {unknown[0]!r} cannot."
            )
        self._opset = opset(model)
        self._kinds = {found.post: types[found.post][0] for found, _ in places}
        self._site_of = {found.post: site for found, site in places}
        self._skeleton = _skeleton(index, [found for found, _ in places])
        self._base = _without_nodes(model, self._skeleton)
        first = {site: found for found, site in reversed(places)}
        order = dict.fromkeys(site for _, site in places)
        self.reference = Assignment((site, first[site].activation) for site in order)
        self.sites = []
        for site in order:
            shape = _channels_last(types[first[site].post][1]) if listed is None else tuple(listed[site]["shape"])
            self.sites.append(Site(site, first[site].activation, shape))

    def edit(self, assignment: Mapping[str, str]) -> bytes:
        """Returns the ONNX file of an assignment.

        Args:
          assignment: Site -> activation; sites that it does not name keep the file's activation.

        Raises:
          InputError: A site or an activation is unknown.
        """
        return self._build(assignment).SerializeToString(deterministic=True)

    def summarize(self, assignment: Mapping[str, str]) -> dict[str, Any]:
        """Returns {"operators": operator -> how many} of the graph that `edit` gives, before a runtime optimizes it.

        Args:
          assignment: As for `edit`.

        Raises:
          InputError: Likewise.
        """
        return {"operators": operator_counts(self._build(assignment))}

    def save(self, path: str | os.PathLike[str], assignment: Mapping[str, str]) -> str:
        """Writes the ONNX file of an assignment; returns the SHA-256 of its bytes."""
        data = self.edit(assignment)
        write_atomically(path, data)
        return hashlib.sha256(data).hexdigest()

    def _build(self, assignment: Mapping[str, str]) -> Any:
        chosen = self.reference.with_swaps(assignment)
        model = type(self._base)()
        model.CopyFrom(self._base)
        constants: dict[str, Any] = {}
        for item in self._skeleton:
            if isinstance(item, Found):
                steps = spell(chosen[self._site_of[item.post]], self._opset)
                model.graph.node.extend(self._nodes(item, steps, constants))
            else:
                model.graph.node.append(item)
        # What another place of an edited file still reads is there already.
        present = {tensor.name for tensor in model.graph.initializer}
        model.graph.initializer.extend(tensor for name, tensor in constants.items() if name not in present)
        return model

    def _nodes(self, found: Found, steps: Iterable[Step], constants: dict[str, Any]) -> list[Any]:
        """Returns the nodes of an activation, named after what they write; adds the constants that they read."""
        names = {"pre": found.pre, "post": found.post}
        nodes = []
        for step in steps:
            inputs = []
            for item in step.inputs:
                if isinstance(item, str):
                    inputs.append(names[item])
                else:
                    constant = _constant(item, self._kinds[found.post])
                    constants[constant.name] = constant
                    inputs.append(constant.name)
            name = names.setdefault(step.output, f"{found.post}/{step.output}")
            nodes.append(import_onnx().helper.make_node(step.operator, inputs, [name], name, **step.attributes))
        return nodes


def _find_listed(index: GraphIndex, listed: Mapping[str, SiteEntry]) -> list[tuple[Found, str]]:
    """Returns the activations, with their sites, that a list of sites names, in the order of execution."""
    sites = {tensor: site for site, entry in listed.items() for tensor in entry["tensors"]}
    found = [index.find(tensor, _LISTED) for tensor in sites]
    return [(place, sites[place.post]) for place in _ordered(place for place in found if place is not None)]


def _find_unlisted(index: GraphIndex) -> list[tuple[Found, str]]:
    """Returns all activations that a graph has, with names for their sites, in the order of execution."""
    found: list[Found] = []
    taken: set[int] = set()
    places = [place for tensor in index.writer if (place := index.find(tensor, _UNLISTED)) is not None]
    # The longest spelling wins: the Clip in the middle of a hard-swish is none of its own.
    for place in sorted(places, key=lambda place: -len(place.positions)):
        if taken.isdisjoint(place.positions):
            taken.update(place.positions)
            found.append(place)
    names: dict[str, int] = {}
    result = []
    for place in _ordered(place for place in found if place.activation != NO_ACTIVATION):
        base = index.nodes[place.positions[-1]].name or place.post
        names[base] = names.get(base, 0) + 1
        result.append((place, base if names[base] == 1 else f"{base}#{names[base]}"))
    return result


def _ordered(places: Iterable[Found]) -> list[Found]:
    return sorted(places, key=lambda place: place.positions[-1])


def _skeleton(index: GraphIndex, places: list[Found]) -> list[Any]:
    """Returns the nodes of a graph with each activation replaced by where it was found, in the order of execution."""
    last = {place.positions[-1]: place for place in places}
    swallowed = {position for place in places for position in place.positions}
    skeleton = [
        last.get(position, node) for position, node in enumerate(index.nodes) if position not in swallowed - set(last)
    ]
    # A constant that only an activation reads goes with it.
    read = {tensor for item in skeleton if not isinstance(item, Found) for tensor in read_tensors(item)} | index.outputs
    read |= {place.pre for place in places}
    return [
        item
        for item in skeleton
        if isinstance(item, Found) or item.op_type != "Constant" or not read.isdisjoint(item.output)
    ]


def _without_nodes(model: Any, skeleton: list[Any]) -> Any:
    """Returns a copy of a model without nodes, and without what only the activations in it read or write."""
    base = type(model)()
    base.CopyFrom(model)
    nodes = [item for item in skeleton if not isinstance(item, Found)]
    read = {tensor for node in nodes for tensor in read_tensors(node)}
    read |= {value.name for value in model.graph.output}
    known = read | {tensor for node in nodes for tensor in node.output}
    known |= {name for item in skeleton if isinstance(item, Found) for name in (item.pre, item.post)}
    del base.graph.node[:], base.graph.initializer[:], base.graph.value_info[:]
    base.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in read)
    base.graph.value_info.extend(value for value in model.graph.value_info if value.name in known)
    return base


def _constant(value: float, kind: int) -> Any:
    """Returns a scalar of an element type, named by its value."""
    onnx = import_onnx()
    array = np.asarray(value, onnx.helper.tensor_dtype_to_np_dtype(kind))
    return onnx.numpy_helper.from_array(array, f"keras_actnas/{array.dtype}/{value:.9g}")


def _channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape of a tensor of a file that says nothing of its layout, without the batch."""
    return (*shape[2:], shape[1]) if len(shape) in (4, 5) else shape[1:]
