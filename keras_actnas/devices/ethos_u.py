"""Latency and memory of an int8 .tflite on an Arm Ethos-U NPU, as Arm's compiler Vela estimates them."""

from __future__ import annotations

import csv
import dataclasses
import importlib.metadata
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from keras_actnas.core.errors import InputError
from keras_actnas.core.printing import printing_to
from keras_actnas.devices.vela_system import VelaSystem, import_vela
from keras_actnas.export.graph_scan import is_quantized
from keras_actnas.export.schema import operator_name, read_model

NPU_OPERATOR = "ethos-u"
"""The operator of a compiled .tflite that stands for all that the NPU runs."""


@dataclasses.dataclass(frozen=True)
class EthosUEstimate:
    """What Vela estimates of one network on one system. Nothing here is measured.

    Attributes:
      milliseconds: Time of one inference on the NPU. Operators on the CPU cost nothing in it: see `cpu_operators`.
      npu_cycles: Cycles in which the NPU computes.
      total_cycles: Cycles of an inference, with those in which it waits for memory.
      sram_kib: Peak use of SRAM.
      dram_kib: Peak use of DRAM.
      flash_kib: Use of flash memory, on the chip and off it.
      sram_traffic_kib: What an inference reads from SRAM and writes to it.
      dram_traffic_kib: What an inference reads from DRAM and writes to it.
      cpu_operators: Names of the operators that the NPU cannot run and that fall back to the CPU, in order of
        execution. A network with any is slower than `milliseconds` says, nobody knows by how much.
      accelerator: The NPU, such as "ethos-u55-128".
      system_config: Clock and memories, by the name of a section of Vela's configuration file.
      memory_mode: What lies in which memory, likewise.
      vela_version: Version of Vela. Estimates change with it.
    """

    milliseconds: float
    npu_cycles: int
    total_cycles: int
    sram_kib: float
    dram_kib: float
    flash_kib: float
    sram_traffic_kib: float
    dram_traffic_kib: float
    cpu_operators: tuple[str, ...]
    accelerator: str
    system_config: str
    memory_mode: str
    vela_version: str

    @property
    def inferences_per_second(self) -> float:
        """How many inferences the NPU makes in a second; NaN if it has nothing to do."""
        return 1e3 / self.milliseconds if self.milliseconds else float("nan")

    @property
    def runs_on_npu(self) -> bool:
        """Whether the NPU runs every operator, so that the time is that of the whole network."""
        return not self.cpu_operators


def estimate_ethos_u(
    path: str | os.PathLike[str] | bytes,
    accelerator: str = "ethos-u55-128",
    system_config: str | None = None,
    memory_mode: str | None = None,
    vela_config: str | os.PathLike[str] | None = None,
) -> EthosUEstimate:
    """Estimates the latency and the memory of an int8 .tflite on an Ethos-U NPU, by compiling it with Vela.

    Estimates are Vela's and not measured; compare them with each other, of one version, system and memory mode. What
    anything in this process prints while Vela runs is lost.

    Args:
      path: Path or bytes of an int8 .tflite, such as `export.to_tflite(model, path, "int8", images)` writes.
      accelerator: The NPU and its multiply-accumulates per cycle: "ethos-u55-32" to "-256", "ethos-u65-256" and
        "-512", "ethos-u85-128" to "-2048".
      system_config: Clock and memories: the name of a `System_Config` section of the configuration file. None is Vela's
        default for the accelerator.
      memory_mode: What lies in which memory: the name of a `Memory_Mode` section. None is Vela's default.
      vela_config: A configuration file of Vela; None for the one that it comes with. A file of one's own needs
        `system_config` and `memory_mode` with it.

    Returns:
      The estimate, with the names of system configuration and memory mode that were used.

    Raises:
      InputError: The file is missing, damaged, not int8 or compiled already; an unknown accelerator, system
        configuration or memory mode; or Vela refuses the network.
      MissingDependencyError: Vela is not installed.

    >>> estimate_ethos_u(b"not a .tflite")
    Traceback (most recent call last):
      ...
    keras_actnas.core.errors.InputError: Expected a .tflite file (identifier TFL3). Received: the given bytes, ...
    """
    name = "the given bytes" if isinstance(path, bytes) else str(path)
    check_int8(read_model(path), name)
    system = VelaSystem.resolve(accelerator, system_config, memory_mode, vela_config)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "network.tflite")
        file.write_bytes(path if isinstance(path, bytes) else Path(path).read_bytes())
        return compile_network(file, system, name)


def compile_network(file: Path, system: VelaSystem, name: str) -> EthosUEstimate:
    """Returns Vela's estimate of an int8 .tflite, which `check_int8` has looked over.

    Args:
      file: The .tflite; its name ends so.
      system: What it is compiled for.
      name: What messages call the network.

    Raises:
      InputError: Vela refuses the network.
    """
    with tempfile.TemporaryDirectory() as folder:
        _compile([str(file), "--output-dir", folder, *system.arguments], name)
        (summary,) = Path(folder).glob("*_summary_*.csv")
        with summary.open(encoding="utf-8") as lines:
            (row,) = csv.DictReader(lines)
        (compiled,) = Path(folder).glob("*_vela.tflite")
        operators = _operators(read_model(compiled))
    return EthosUEstimate(
        milliseconds=float(row["inference_time"]) * 1e3,
        npu_cycles=int(float(row["cycles_npu"])),
        total_cycles=int(float(row["cycles_total"])),
        sram_kib=float(row["sram_memory_used"]),
        dram_kib=float(row["dram_memory_used"]),
        flash_kib=float(row["on_chip_flash_memory_used"]) + float(row["off_chip_flash_memory_used"]),
        sram_traffic_kib=float(row["sram_total_bytes"]) / 1024,
        dram_traffic_kib=float(row["dram_total_bytes"]) / 1024,
        cpu_operators=tuple(one for one in operators if one != NPU_OPERATOR),
        accelerator=system.accelerator,
        system_config=system.system_config,
        memory_mode=system.memory_mode,
        vela_version=vela_version(),
    )


def vela_version() -> str:
    """Returns the version of Vela, with which estimates change."""
    return importlib.metadata.version("ethos-u-vela")


def check_int8(model: Any, name: str) -> None:
    """Raises `InputError` for a graph that computes in floating point, which Vela would take and leave to the CPU.

    Args:
      model: The `ModelT` of a .tflite.
      name: What the message calls it.
    """
    if NPU_OPERATOR in _operators(model):
        raise InputError(f"Expected a .tflite that Vela has not compiled yet. Received: {name}, which it has.")
    outputs = (
        subgraph.tensors[int(tensor)]
        for subgraph in model.subgraphs
        for operator in subgraph.operators
        for tensor in operator.outputs
    )
    if not any(is_quantized(tensor) for tensor in outputs):
        raise InputError(
            f"Expected an int8 .tflite, which is what the NPU runs. Received: {name}, which computes in floating "
            'point. Convert the model with `keras_actnas.export.to_tflite(model, path, "int8", images)`.'
        )


def _operators(model: Any) -> list[str]:
    return [operator_name(model, operator) for subgraph in model.subgraphs for operator in subgraph.operators]


def _compile(arguments: list[str], name: str) -> None:
    # Vela sets the limit to a number of its own.
    limit = sys.getrecursionlimit()
    vela = import_vela()
    reason: object = ""
    with tempfile.TemporaryFile() as printed:
        try:
            with printing_to(printed.fileno()):
                code = vela.main(arguments)
        except (Exception, SystemExit) as error:
            code, reason = 1, error
        finally:
            sys.setrecursionlimit(limit)
        if code:
            printed.seek(0)
            last = printed.read().decode(errors="replace").strip().splitlines()[-1:]
            shown = " ".join(f"{reason} {' '.join(last)}".split())[:400]
            raise InputError(f"Expected a network that Vela can compile. Received: {name}; Vela says: {shown}")
