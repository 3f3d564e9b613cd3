"""What each choice for each block of a RAN-e network costs on a device."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.core.table import Estimate
from keras_actnas.devices.ethos_u import estimate_ethos_u
from keras_actnas.export import to_tflite
from keras_actnas.models.ran_e import RANE
from keras_actnas.models.ran_e_blocks import Block
from keras_actnas.search.ran_e import Build
from keras_actnas.tflite_bench import DEFAULT_RUNS, TFLiteRunner, measure, paired_ratio, summarize

CostOf = Callable[[keras.Model], Estimate]
"""Returns a network's cost, such as its latency in ms, with a standard error."""


@dataclasses.dataclass(frozen=True)
class Option:
    """What a block can be: collapsed, or an inverted bottleneck with a kernel."""

    kernel_size: int
    collapsed: bool


@dataclasses.dataclass(frozen=True)
class CostTable:
    """What changing one block at a time costs.

    Attributes:
      blocks: The network that is changed.
      options: What each block can be.
      base: Cost of the network as it is.
      delta: Difference to `base`, shape (blocks, options); NaN where a block cannot be that.
      standard_error: Of `delta`, same shape.
    """

    blocks: tuple[Block, ...]
    options: tuple[Option, ...]
    base: Estimate
    delta: np.ndarray
    standard_error: np.ndarray

    @property
    def least(self) -> float:
        """The least cost that any choice is predicted to have."""
        return self.base.value + float(np.nanmin(self.delta, axis=1).sum())


def measure_costs(
    blocks: Sequence[Block],
    cost_of: CostOf,
    build: Build = RANE,
    kernel_sizes: Sequence[int] = (3, 5, 7),
    path: str | os.PathLike[str] | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] | None = None,
) -> CostTable:
    """Measures what it costs to collapse each block, or to enlarge its kernel, one at a time.

    Args:
      blocks: The network to change.
      cost_of: Measures a network; `HostLatency` and `EthosULatency` do.
      build: Makes a network of blocks.
      kernel_sizes: Kernels of inverted bottlenecks; those of 3 and more that are not smaller than a block's own count.
      path: A file to which every measurement is added as soon as it is made; what it has already is not measured again.
      progress: Wraps the networks that are measured, such as `tqdm`.

    Returns:
      The table. A collapsed block has the kernel that the block has in `blocks`.

    Raises:
      InputError: The file cannot be read or written.
    """
    blocks = tuple(blocks)
    options = (*(Option(size, False) for size in sorted(set(kernel_sizes))), Option(0, True))
    known = _Costs(path)
    delta = np.full((len(blocks), len(options)), np.nan)
    error = np.full_like(delta, np.nan)
    candidates = [
        (row, column, as_option(blocks, row, option))
        for row in range(len(blocks))
        for column, option in enumerate(options)
        if option.collapsed or option.kernel_size >= blocks[row].kernel_size
    ]

    def cost(changed: tuple[Block, ...]) -> Estimate:
        return cost_of(build(changed))

    base = known.get(blocks, functools.partial(cost, blocks))
    for row, column, changed in progress(candidates) if progress else candidates:
        same = changed == blocks
        found = base if same else known.get(changed, functools.partial(cost, changed))
        delta[row, column] = found.value - base.value
        error[row, column] = 0.0 if same else found.standard_error
    return CostTable(blocks, options, base, delta, error)


def as_option(blocks: tuple[Block, ...], row: int, option: Option) -> tuple[Block, ...]:
    """Returns blocks of which one is as an option says."""
    own = blocks[row]
    kernel = own.kernel_size if option.collapsed else option.kernel_size
    changed = dataclasses.replace(own, collapsed=option.collapsed, kernel_size=kernel)
    return (*blocks[:row], changed, *blocks[row + 1 :])


class HostLatency:
    """Measures networks on this machine as .tflite, in ms, each run by run beside a reference network.

    Args:
      reference: The network beside which the others run; its own latency is measured with each.
      runs: Timed runs of each.
      precision: "float32", or "int8" with `images`.
      images: Representative data, for "int8".
    """

    def __init__(
        self,
        reference: keras.Model,
        runs: int = DEFAULT_RUNS,
        precision: str = "float32",
        images: np.ndarray | None = None,
    ) -> None:
        self._conversion = (precision, images)
        self._runs = runs
        self._reference = self._runner(reference)
        own = summarize(measure(self._reference, runs=runs).samples)
        self.reference = Estimate(own.median, own.standard_error)

    def __call__(self, model: keras.Model) -> Estimate:
        """Returns the latency: the reference's, times the ratio of the two side by side; the error is the ratio's."""
        result = measure(self._runner(model), reference=self._reference, runs=self._runs)
        ratio = paired_ratio(result.samples, result.reference_samples)
        return Estimate(self.reference.value * ratio.ratio, self.reference.value * ratio.standard_error)

    def _runner(self, model: keras.Model) -> TFLiteRunner:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.tflite"
            to_tflite(model, path, *self._conversion)
            return TFLiteRunner(path.read_bytes())


class EthosULatency:
    """Estimates networks on an Ethos-U NPU with Vela, in ms, as int8 .tflite.

    Args:
      images: Representative data for the conversion to int8.
      **configuration: As for `estimate_ethos_u`: `accelerator`, `system_config`, `memory_mode`.
    """

    def __init__(self, images: np.ndarray, **configuration: Any) -> None:
        self._images, self._configuration = images, configuration

    def __call__(self, model: keras.Model) -> Estimate:
        """Returns Vela's estimate, which has no spread.

        Raises:
          InputError: An operator would fall back to the CPU, which Vela counts as free.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.tflite"
            to_tflite(model, path, "int8", self._images)
            found = estimate_ethos_u(path, **self._configuration)
        if not found.runs_on_npu:
            raise InputError(
                "Expected a network that the NPU runs altogether: Vela counts operators on the CPU as free. "
                f"Received: {model.name!r} with {', '.join(found.cpu_operators)}."
            )
        return Estimate(found.milliseconds)


class _Costs:
    """Measured costs by blocks, in memory and, if there is a path, in a file of JSON lines."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = None if path is None else Path(path)
        self._known: dict[str, Estimate] = {}
        if self._path is None or not self._path.exists():
            return
        *lines, rest = self._path.read_text(encoding="utf-8").split("\n")
        try:
            for content in map(json.loads, lines):
                self._known[content["blocks"]] = Estimate(content["value"], content["standard_error"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"Expected a file of measured blocks. Received: {path} ({error}).") from error
        if rest:  # What a kill left of a line.
            self._path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def get(self, blocks: tuple[Block, ...], measured: Callable[[], Estimate]) -> Estimate:
        """Returns what is known of blocks, or else measures it."""
        key = json.dumps([dataclasses.astuple(dataclasses.replace(block, alpha=None)) for block in blocks])
        if key not in self._known:
            cost = measured()
            line = {"blocks": key, "value": cost.value, "standard_error": cost.standard_error}
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
            self._known[key] = cost
        return self._known[key]
