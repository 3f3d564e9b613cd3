"""How far an int8 network is from its float32 original, behind every site and at its outputs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.integrations.site_graphs import SiteGraph
from keras_actnas.integrations.tensor_errors import QuantizationReport, TensorError
from keras_actnas.tflite_bench.runtime import load_runtime

Source = str | os.PathLike[str] | bytes


def quantization_report(
    original: Source,
    quantized: Source,
    images: np.ndarray | Sequence[np.ndarray],
    activations: Mapping[str, str] | None = None,
) -> QuantizationReport:
    """Returns the error of an int8 network at every site, compared with the float32 network on the same images.

    Two errors of each site are measured. The *accumulated* one is that of the int8 network's tensor behind the site,
    with all that went wrong before. The site's *own* one is what the activation alone would do: the float32 network's
    tensor before it, rounded to the int8 network's range there, is put through the int8 operators of the activation
    and compared with the float32 tensor behind it. Of a ReLU that is fused into the operator before, which rounds once,
    behind the ReLU, that is the rounding and clipping of the tensor behind it.

    Args:
      original: Path or bytes of the float32 .tflite from `export.to_named_tflite`.
      quantized: The int8 one of the same model.
      images: Array of shape (images, ...), preprocessed as for calibration, but better other images than those; for a
        model with several inputs a list of such arrays, in the order of the file's inputs.
      activations: Site -> activation, for those that a graph does not show, such as `mish` in its five operators.

    Raises:
      InputError: A file lists no sites, the files have different ones, or the images do not fit.
    """
    floats, integers = SiteGraph(original), SiteGraph(quantized)
    if floats.sites != integers.sites:
        raise InputError("Expected two files of one model, with the same sites. Received: files with different sites.")
    arrays = list(images) if isinstance(images, (list, tuple)) else [images]
    meter = _Meter(floats, integers)
    for image in zip(*arrays, strict=True):
        meter.add([np.asarray(values, np.float32)[None] for values in image])
    return meter.report(activations or {})


class _Meter:
    """Sums of squares over images, from three graphs: the two networks, and the int8 activations by themselves."""

    def __init__(self, floats: SiteGraph, integers: SiteGraph) -> None:
        self._floats, self._integers = floats, integers
        integer = {application.name: application for application in integers.applications}
        pairs = [(each, integer[each.name]) for each in floats.applications if each.name in integer]
        # What a SiLU at the end of the network reads is known in both graphs or in neither.
        self._alone = [f.pre is not None and i.pre is not None for f, i in pairs]
        self._pairs = pairs
        wanted = [tensor for f, _ in pairs for tensor in (f.pre, f.post) if tensor is not None]
        self._float_network = _Network(floats, [*wanted, *floats.outputs])
        self._int8_network = _Network(integers, [*(i.post for _, i in pairs), *integers.outputs])
        self._activations = _Activations(integers) if any(self._alone) else None
        self._tallies = [_Tally() for _ in pairs]
        self._own = [_Tally() for _ in pairs]
        self._clipped = [_Tally() for _ in pairs]
        self._outputs = [_Tally() for _ in floats.outputs]
        self._images = 0

    def add(self, image: list[np.ndarray]) -> None:
        """Runs all three on one image."""
        exact, rounded = self._float_network.run(image), self._int8_network.run(image)
        before = {i.pre: exact[f.pre] for f, i in self._pairs if f.pre is not None and i.pre is not None}
        alone = self._activations.run(before) if self._activations else {}
        for number, (f, i) in enumerate(self._pairs):
            self._tallies[number].add(exact[f.post], rounded[i.post])
            grid = self._integers.quantization(i.post)
            if grid is None or not i.activation:
                continue
            nearest = _dequantize(_quantize(exact[f.post], grid), grid)
            self._own[number].add(exact[f.post], alone[i.post] if self._alone[number] else nearest)
            self._clipped[number].add_clipped(exact[f.post], grid)
        for tally, f_output, i_output in zip(self._outputs, self._floats.outputs, self._integers.outputs, strict=True):
            tally.add(exact[f_output], rounded[i_output])
        self._images += 1

    def report(self, activations: Mapping[str, str]) -> QuantizationReport:
        """Returns the errors over all images; arguments as for `quantization_report`."""
        if not self._images:
            raise InputError("Expected at least one image. Received: none.")
        sites = []
        for (f, i), tally, own, clipped in zip(self._pairs, self._tallies, self._own, self._clipped, strict=True):
            share = clipped.error / clipped.signal if clipped.signal else None
            activation = f.activation or i.activation or activations.get(f.site, "")
            sites.append(TensorError(f.name, activation, tally.sqnr(), own.sqnr(), share))
        outputs = [TensorError(f"output {n}", "", tally.sqnr()) for n, tally in enumerate(self._outputs)]
        return QuantizationReport(tuple(sites), tuple(outputs), self._images)


class _Tally:
    """Sums of squares of a signal and of an error."""

    def __init__(self) -> None:
        self.signal = self.error = 0.0
        self._filled = False

    def add(self, exact: np.ndarray, rounded: np.ndarray) -> None:
        """Adds a tensor and what became of it."""
        self._filled = True
        self.signal += float(np.sum(np.square(exact, dtype=np.float64)))
        self.error += float(np.sum(np.square(exact.astype(np.float64) - rounded)))

    def add_clipped(self, exact: np.ndarray, grid: tuple[float, int]) -> None:
        """Counts the values, and among them those that are farther outside the range than rounding goes."""
        scale, zero = grid
        levels = exact / scale + zero
        self.signal += exact.size
        self.error += int(np.sum((levels < -128.5) | (levels > 127.5)))

    def sqnr(self) -> float | None:
        """Returns the ratio in dB; infinite without an error, None if nothing was added."""
        if not self._filled:
            return None
        if not self.error:
            return float("inf")
        return float(10 * np.log10(self.signal / self.error)) if self.signal else float("-inf")


class _Network:
    """An interpreter that returns some tensors of a graph, in float32 whatever the graph has."""

    def __init__(self, graph: SiteGraph, tensors: list[int]) -> None:
        self._tensors = list(dict.fromkeys(tensors))
        self._interpreter = _interpreter(graph.with_outputs(self._tensors))

    def run(self, values: list[np.ndarray]) -> dict[int, np.ndarray]:
        """Returns tensor -> its values for inputs in float32."""
        return dict(zip(self._tensors, _invoke(self._interpreter, values), strict=True))


class _Activations:
    """The int8 activations of a network, each by itself."""

    def __init__(self, graph: SiteGraph) -> None:
        own = [application for application in graph.applications if application.pre is not None]
        self._inputs = list(dict.fromkeys(application.pre for application in own))
        self._outputs = list(dict.fromkeys(application.post for application in own))
        self._interpreter = _interpreter(graph.activations_alone() or b"")

    def run(self, before: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Returns tensor behind -> values, of tensor before -> values in float32."""
        values = [before[tensor] for tensor in self._inputs if tensor is not None]
        return dict(zip(self._outputs, _invoke(self._interpreter, values), strict=True))


def _interpreter(data: bytes) -> Any:
    interpreter = load_runtime().interpreter(model_content=data)
    interpreter.allocate_tensors()
    return interpreter


def _invoke(interpreter: Any, values: list[np.ndarray]) -> list[np.ndarray]:
    """Runs an interpreter on float32 values, which are quantized as its inputs are; returns its outputs in float32."""
    details = interpreter.get_input_details()
    if [tuple(detail["shape"]) for detail in details] != [value.shape for value in values]:
        raise InputError(
            f"Expected images for inputs of shape {[tuple(detail['shape'][1:].tolist()) for detail in details]}. "
            f"Received: {[value.shape[1:] for value in values]}."
        )
    for detail, value in zip(details, values, strict=True):
        grid = _grid(detail)
        interpreter.set_tensor(detail["index"], value if grid is None else _quantize(value, grid))
    interpreter.invoke()
    results = []
    for detail in interpreter.get_output_details():
        value, grid = interpreter.get_tensor(detail["index"]), _grid(detail)
        results.append(value if grid is None else _dequantize(value, grid))
    return results


def _grid(detail: dict[str, Any]) -> tuple[float, int] | None:
    return None if detail["dtype"] == np.float32 else detail["quantization"]


def _quantize(values: np.ndarray, grid: tuple[float, int]) -> np.ndarray:
    scale, zero = grid
    return np.clip(np.round(values / scale) + zero, -128, 127).astype(np.int8)


def _dequantize(values: np.ndarray, grid: tuple[float, int]) -> np.ndarray:
    scale, zero = grid
    return ((values.astype(np.float32) - zero) * scale).astype(np.float32)
