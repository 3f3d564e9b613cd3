"""A switchable network in parts: of two networks that begin alike, the second is computed from where they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_actnas.search.proxies.network_proxy import graph
from keras_actnas.search.switchable import SwitchableNetwork

PARTS = 16
"""More parts compute less again, but calling each costs a fraction of a millisecond."""


class SegmentedNetwork:
    """Runs a network part by part and keeps what passes from one to the next.

    What lies before the first site that changed since the run before has the same values again and is not computed.
    The parts are the same compiled functions wherever a run begins, so the results are the same, bit for bit.

    Args:
      network: The network.
      evaluate: Takes the inputs of the sites' calls in one part, and returns tensors that depend on them alone.
      parts: Number of parts, of about equal numbers of elements computed.
    """

    def __init__(self, network: SwitchableNetwork, evaluate: Callable[[list[Any]], Any], parts: int = PARTS) -> None:
        self._network = network
        # A Sequential model holds its graph as another model.
        view = keras.Model(network.model.inputs, network.model.outputs)
        nodes = [node for depth in sorted(view._nodes_by_depth, reverse=True) for node in view._nodes_by_depth[depth]]
        nodes = [node for node in nodes if not node.is_input]
        groups = _groups(nodes, {switch.name for switch in network.switches.values()}, parts)
        self.functions: list[Any] = []
        self._sites: list[list[str]] = []
        live = [view.inputs[0]]
        for number, group in enumerate(groups):
            later = [tensor for other in groups[number + 1 :] for node in other for tensor in node.input_tensors]
            here = [*live, *(tensor for node in group for tensor in node.outputs)]
            needed = {id(tensor) for tensor in later}
            passed = [tensor for tensor in here if id(tensor) in needed]
            self.functions.append(graph(self._part(group, live, passed, evaluate)))
            names = {layer.name for node in group for layer in _layers(node.operation)}
            self._sites.append([site for site, switch in network.switches.items() if switch.name in names])
            live = passed
        self._entering: list[list[Any]] = [[] for _ in groups]
        self._results: list[Any] = [None] * len(groups)
        self._ran: tuple[Any, list[tuple[str, ...]]] = (None, [])

    def _part(self, nodes: list[Any], entering: list[Any], passed: list[Any], evaluate: Callable[..., Any]) -> Any:
        """Returns a function: tensors that enter -> (tensors that are passed on, what `evaluate` says)."""

        def part(tensors: list[Any]) -> tuple[list[Any], Any]:
            values = {id(key): value for key, value in zip(entering, tensors, strict=True)}
            with self._network.listening() as seen:
                for node in nodes:
                    args, kwargs = node.arguments.fill_in(values)
                    if "training" in getattr(node.operation, "_call_context_args", ()):
                        kwargs = {**kwargs, "training": False}
                    outputs = keras.tree.flatten(node.operation(*args, **kwargs))
                    values.update((id(key), value) for key, value in zip(node.outputs, outputs, strict=True))
            return [values[id(key)] for key in passed], evaluate(seen)

        return part

    def run(self, images: np.ndarray, choice: Sequence[str], weights: Any) -> list[Any]:
        """Runs the network as it is switched; returns what `evaluate` says of each part.

        Args:
          images: The images; as long as it is the same array, what was computed of it is kept.
          choice: The activation of every switch, in their order.
          weights: What tells the present weights from others.
        """
        chosen = dict(zip(self._network.switches, choice, strict=True))
        names = [tuple(chosen[site] for site in sites) for sites in self._sites]
        state, before = self._ran
        start = 0
        if state is not None and state[0] is images and state[1] == weights:
            changed = (number for number, (new, old) in enumerate(zip(names, before, strict=True)) if new != old)
            start = next(changed, len(names))
        self._ran = (None, [])  # An interrupted run leaves a mixture.
        if start == 0:
            self._entering[0] = [keras.ops.convert_to_tensor(images)]
        for number in range(start, len(names)):
            passed, self._results[number] = self.functions[number](self._entering[number])
            if number + 1 < len(names):
                self._entering[number + 1] = passed
        self._ran = ((images, weights), names)
        return list(self._results)


def _groups(nodes: list[Any], switches: set[str], parts: int) -> list[list[Any]]:
    """Splits nodes, in the order of computing, before switches, into groups of about as many elements of outputs."""
    sizes = [sum(float(np.prod(tensor.shape)) for tensor in node.outputs) for node in nodes]
    share = sum(sizes) / parts
    groups: list[list[Any]] = [[]]
    filled = 0.0
    for node, size in zip(nodes, sizes, strict=True):
        has_switch = any(layer.name in switches for layer in _layers(node.operation))
        if groups[-1] and has_switch and filled >= share * len(groups):
            groups.append([])
        groups[-1].append(node)
        filled += size
    return groups


def _layers(operation: Any) -> list[Any]:
    """Returns a layer with those inside of it; nothing for an operation that is no layer."""
    return list(operation._flatten_layers()) if isinstance(operation, keras.Layer) else []
