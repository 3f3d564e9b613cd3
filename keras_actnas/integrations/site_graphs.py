"""Parts of a .tflite made runnable: the tensors before and after its sites, and its activations by themselves."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.export.compaction import compact
from keras_actnas.export.graph_scan import GraphIndex, Place, is_quantized, read_site_tensors, scan
from keras_actnas.export.schema import pack_model, read_model


@dataclasses.dataclass(frozen=True)
class SiteTensors:
    """One application of a site's activation in a graph.

    Attributes:
      site: The site.
      name: The site's name, with `:1`, `:2`, ... for another call of its layer.
      activation: What the graph applies; "" where it is none that graph editing knows.
      pre: Index of the tensor that the activation's own operators read; None where the operator before has fused it,
        or `activation` is "".
      post: Index of the tensor that holds the activation.
    """

    site: str
    name: str
    activation: str
    pre: int | None
    post: int


class SiteGraph:
    """A .tflite whose sites are listed in it, and their tensors.

    Args:
      source: Path or bytes of a file that `export.to_named_tflite` wrote.

    Raises:
      InputError: The file is no .tflite, or lists no sites.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        listed = read_site_tensors(read_model(source))
        if not listed:
            raise InputError(
                "Expected a .tflite that knows its sites, such as `export.to_named_tflite` writes. "
                f"Received: {'the given bytes' if isinstance(source, bytes) else source}, which lists none."
            )
        self.sites = list(listed)
        """Names of the sites."""
        self.applications = self._find([(site, name) for site, names in listed.items() for name in names])
        """The applications of the sites. One whose tensor is fused away, as that between two ReLUs, is missing."""
        self.outputs = [int(tensor) for tensor in read_model(source).subgraphs[0].outputs]
        """Indices of the outputs."""

    def _find(self, names: list[tuple[str, str]]) -> list[SiteTensors]:
        model = read_model(self._source)
        subgraph = model.subgraphs[0]
        number = {(tensor.name or b"").decode(): index for index, tensor in enumerate(subgraph.tensors)}
        own = len(subgraph.tensors)  # `scan` adds those that a fused activation hides.
        places = {place.post: place for place in scan(model, subgraph) if isinstance(place, Place)}
        found = []
        for site, name in names:
            if name in number:
                place = places.get(number[name])
                pre = None if place is None or place.pre >= own else place.pre
                found.append(SiteTensors(site, name, place.activation if place else "", pre, number[name]))
        return found

    def quantization(self, tensor: int) -> tuple[float, int] | None:
        """Returns scale and zero point of a tensor, or None for a float one."""
        details = read_model(self._source).subgraphs[0].tensors[tensor]
        if not is_quantized(details):
            return None
        return float(details.quantization.scale[0]), int(details.quantization.zeroPoint[0])

    def with_outputs(self, tensors: Sequence[int]) -> bytes:
        """Returns the .tflite with other outputs, each tensor at most once."""
        model = read_model(self._source)
        return _packed(model, model.subgraphs[0].inputs, tensors)

    def activations_alone(self) -> bytes | None:
        """Returns a .tflite of the activations' own operators: inputs `pre`, outputs `post` of those that have any."""
        own = [application for application in self.applications if application.pre is not None]
        if not own:
            return None
        model = read_model(self._source)
        index = GraphIndex(model, model.subgraphs[0])
        kept = sorted({position for application in own for position in _operators(index, application)})
        model.subgraphs[0].operators = [model.subgraphs[0].operators[position] for position in kept]
        inputs = list(dict.fromkeys(int(application.pre) for application in own if application.pre is not None))
        return _packed(model, inputs, list(dict.fromkeys(application.post for application in own)))


def _operators(index: GraphIndex, application: SiteTensors) -> list[int]:
    """Returns the positions of the operators between `pre` and `post`."""
    found, waiting = [], [application.post]
    while waiting:
        tensor = waiting.pop()
        if tensor != application.pre and tensor in index.writer:
            found.append(index.writer[tensor])
            waiting.extend(int(each) for each in index.subgraph.operators[index.writer[tensor]].inputs if each >= 0)
    return found


def _packed(model: Any, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    subgraph = copy.copy(model.subgraphs[0])
    subgraph.inputs, subgraph.outputs = np.asarray(inputs, np.int32), np.asarray(outputs, np.int32)
    model.subgraphs, model.signatureDefs = [subgraph, *model.subgraphs[1:]], []
    compact(model, range(len(subgraph.tensors)))
    return pack_model(model)
