"""Latency and memory of an int8 .tflite on an Arm Ethos-U NPU, as Arm's compiler Vela estimates them."""

from __future__ import annotations

import configparser
import contextlib
import csv
import dataclasses
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from keras_actnas.core.errors import InputError, MissingDependencyError, closest
from keras_actnas.export.graph_scan import is_quantized
from keras_actnas.export.schema import operator_name, read_model

NPU_OPERATOR = "ethos-u"
"""The operator of a compiled .tflite that stands for all that the NPU runs."""

BUNDLED_CONFIG = "Arm/vela.ini"
"""The configuration file that comes with Vela."""


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
    _check_int8(read_model(path), name)
    vela = _vela()
    arguments = ["--accelerator-config", _checked_accelerator(vela, accelerator)]
    arguments += _configuration(vela, system_config, memory_mode, vela_config)
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / "network.tflite"
        network.write_bytes(path if isinstance(path, bytes) else Path(path).read_bytes())
        _compile(vela, [str(network), "--output-dir", folder, *arguments], name)
        (summary,) = Path(folder).glob("network_summary_*.csv")
        with summary.open(encoding="utf-8") as lines:
            (row,) = csv.DictReader(lines)
        compiled = read_model(Path(folder) / "network_vela.tflite")
    return EthosUEstimate(
        milliseconds=float(row["inference_time"]) * 1e3,
        npu_cycles=int(float(row["cycles_npu"])),
        total_cycles=int(float(row["cycles_total"])),
        sram_kib=float(row["sram_memory_used"]),
        dram_kib=float(row["dram_memory_used"]),
        flash_kib=float(row["on_chip_flash_memory_used"]) + float(row["off_chip_flash_memory_used"]),
        cpu_operators=tuple(one for one in _operators(compiled) if one != NPU_OPERATOR),
        accelerator=accelerator,
        system_config=row["system_config"],
        memory_mode=row["memory_mode"],
        vela_version=importlib.metadata.version("ethos-u-vela"),
    )


def _vela() -> ModuleType:
    try:
        from ethosu.vela import vela
    except ImportError as error:
        raise MissingDependencyError("ethos-u-vela", "vela", "Estimating the latency on an Ethos-U") from error
    return vela


def _operators(model: Any) -> list[str]:
    return [operator_name(model, operator) for subgraph in model.subgraphs for operator in subgraph.operators]


def _check_int8(model: Any, name: str) -> None:
    """Raises `InputError` for a graph that computes in floating point, which Vela would take and leave to the CPU."""
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


def _checked_accelerator(vela: ModuleType, accelerator: str) -> str:
    known = vela.architecture_features.Accelerator.member_list()
    if accelerator not in known:
        raise InputError(f"Expected an accelerator. Received: {accelerator!r}.{closest(str(accelerator), known)}")
    return accelerator


def _configuration(
    vela: ModuleType, system_config: str | None, memory_mode: str | None, vela_config: str | os.PathLike[str] | None
) -> list[str]:
    """Returns Vela's arguments for a system and a memory mode, which the configuration file has to have."""
    bundled = vela_config is None or os.fspath(vela_config) == BUNDLED_CONFIG
    file = Path(vela.architecture_features.CONFIG_FILES_PATH) / BUNDLED_CONFIG if bundled else Path(vela_config or "")
    sections = configparser.ConfigParser()
    try:
        sections.read_string(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"Expected a configuration file of Vela. Received: {file} ({reason}).") from error
    if not bundled and (system_config is None or memory_mode is None):
        raise InputError(
            "Expected system_config and memory_mode, which name sections, with a vela_config of one's own. "
            f"Received: system_config={system_config!r}, memory_mode={memory_mode!r}."
        )
    # Vela takes its own file by itself, and defaults with no other.
    arguments = [] if bundled else ["--config", str(file.resolve())]
    for argument, kind, name in (
        ("system_config", "System_Config.", system_config),
        ("memory_mode", "Memory_Mode.", memory_mode),
    ):
        known = [section.removeprefix(kind) for section in sections.sections() if section.startswith(kind)]
        if name is not None and name not in known:
            raise InputError(f"Expected {argument} of {file.name}. Received: {name!r}.{closest(str(name), known)}")
        arguments += [] if name is None else [f"--{argument.replace('_', '-')}", name]
    return arguments


def _compile(vela: ModuleType, arguments: list[str], name: str) -> None:
    # Vela sets the limit to a number of its own.
    limit = sys.getrecursionlimit()
    reason: object = ""
    with tempfile.TemporaryFile() as printed:
        try:
            with _printing_to(printed.fileno()):
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


@contextlib.contextmanager
def _printing_to(file: int) -> Iterator[None]:
    """While this lasts, whatever the process prints goes to a file, also what parts of it that are no Python print."""
    streams = (sys.stdout, sys.stderr)
    with open(os.dup(file), "w", encoding="utf-8") as text:  # noqa: PTH123
        kept = [os.dup(1), os.dup(2)]
        try:
            for stream in streams:
                stream.flush()
            os.dup2(file, 1)
            os.dup2(file, 2)
            with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
                yield
        finally:
            for stream in (*streams, text):
                stream.flush()
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
