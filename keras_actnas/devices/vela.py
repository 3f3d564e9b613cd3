"""Arm Ethos-U NPUs, as the compiler Vela estimates them."""

from __future__ import annotations

import collections
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.checks import is_finite, is_whole
from keras_actnas.core.errors import InputError, closest
from keras_actnas.devices.candidate_files import CandidateFiles
from keras_actnas.devices.device import LATENCY, Device, Network, Reading, Request
from keras_actnas.devices.ethos_u import check_int8, vela_version
from keras_actnas.devices.process_pool import ProcessPool, usable_cores
from keras_actnas.devices.vela_system import VelaSystem
from keras_actnas.export.schema import read_model
from keras_actnas.tflite_bench.process import NetworkError

WORKER = "keras_actnas.devices.vela_worker"

# Metric -> unit, and the field of an `EthosUEstimate`.
_METRICS = {
    LATENCY: ("ms", "milliseconds"),
    "sram": ("KiB", "sram_kib"),
    "dram_traffic": ("KiB", "dram_traffic_kib"),
    "npu_cycles": ("cycles", "npu_cycles"),
}

# Key of a device's text -> argument.
_KEYS = {
    "system_config": "system_config",
    "memory_mode": "memory_mode",
    "config": "vela_config",
    "processes": "processes",
    "time_limit": "time_limit",
}


class VelaDevice(Device):
    """An Ethos-U, as Vela estimates it: every candidate is compiled, none is run.

    The estimates are Vela's, of one version, system and memory mode. Vela gives operators that it leaves to the CPU no
    cost, so a candidate with any that the reference has not is one that the device cannot run; those that the
    reference has too are named in the conditions of a reading, "cpu_operators".

    Args:
      accelerator: The NPU and its multiply-accumulates per cycle, such as "ethos-u65-512".
      system_config: Clock and memories, by the name of a section of Vela's configuration file; None for Vela's default.
      memory_mode: What lies in which memory, likewise.
      vela_config: A configuration file of one's own, which needs both names with it; None for Vela's.
      processes: How many compile at the same time; None for as many as there are cores.
      time_limit: Seconds after which Vela is taken to hang.

    Raises:
      InputError: A name is unknown, the file is no configuration of Vela, or a number is out of its range.
      MissingDependencyError: Vela is not installed.
    """

    metrics = {metric: unit for metric, (unit, _) in _METRICS.items()}
    precision = "int8"
    exact = True
    estimated = True

    def __init__(
        self,
        accelerator: str = "ethos-u55-128",
        system_config: str | None = None,
        memory_mode: str | None = None,
        vela_config: str | os.PathLike[str] | None = None,
        processes: int | None = None,
        time_limit: float = 600.0,
    ) -> None:
        if processes is not None and not (is_whole(processes) and processes >= 1):
            raise InputError(f"Expected processes to be an integer of at least 1. Received: {processes!r}.")
        if not (is_finite(time_limit) and time_limit > 0):
            raise InputError(f"Expected time_limit to be a positive number of seconds. Received: {time_limit!r}.")
        self._system = VelaSystem.resolve(accelerator, system_config, memory_mode, vela_config)
        self._config_digest = self._system.config_digest
        self.name = f"vela:{accelerator}"
        self._pool: ProcessPool[int] = ProcessPool(
            WORKER, self._system.to_json(), count=processes or usable_cores(), time_limit=time_limit
        )
        self._reference: tuple[str, dict[str, Any]] = ("", {})

    @classmethod
    def from_spec(cls, spec: str) -> VelaDevice:
        """Returns the device of a text: ACCELERATOR, with ?KEY=VALUE&KEY=VALUE behind it if need be.

        >>> VelaDevice.from_spec("ethos-u65-512?memory_mode=Dedicated_Sram&processes=2").describe()["memory_mode"]
        'Dedicated_Sram'

        Args:
          spec: Keys are system_config, memory_mode, config, processes and time_limit.

        Raises:
          InputError: An unknown key, or whatever `VelaDevice` raises.
        """
        accelerator, _, query = spec.partition("?")
        try:
            given = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else {}
        except ValueError as error:
            raise InputError(f"Expected ACCELERATOR?KEY=VALUE&KEY=VALUE. Received: {spec!r} ({error}).") from error
        for key in given:
            if key not in _KEYS:
                raise InputError(
                    f"Expected keys of {', '.join(_KEYS)} behind the accelerator. "
                    f"Received: {key!r}.{closest(key, _KEYS)}"
                )
        options: dict[str, Any] = {_KEYS[key]: value for key, value in given.items()}
        for name, kind in (("processes", int), ("time_limit", float)):
            if name in options:
                options[name] = _number(name, options[name], kind)
        return cls(accelerator, **options)

    def describe(self) -> Mapping[str, Any]:
        """Returns what the estimates are of: NPU, system configuration, memory mode, version and file of Vela."""
        return {
            "accelerator": self._system.accelerator,
            "system_config": self._system.system_config,
            "memory_mode": self._system.memory_mode,
            "vela_version": vela_version(),
            "vela_config": self._config_digest,
        }

    def measure(self, candidate: bytes, reference: bytes, runs: int) -> Reading:
        """Compiles one candidate, and the reference unless it was the last one's too; `runs` makes no difference."""
        with tempfile.TemporaryDirectory(prefix="keras-actnas-") as folder:
            own = self._compile_reference(reference, Path(folder))
            return _reading(own if candidate == reference else self._compile(candidate, Path(folder)), own, {})

    def measure_all(self, network: Network, request: Request) -> Iterator[tuple[Assignment, Reading]]:
        """Compiles candidates in parallel; the reference once.

        Args:
          network: What candidates are made from.
          request: The candidates.

        Yields:
          Each assignment with its reading as soon as it is made, so in about the given order.

        Raises:
          InputError: Vela cannot compile the reference.
        """
        with tempfile.TemporaryDirectory(prefix="keras-actnas-") as folder:
            reference = network.edit(request.reference)
            own = self._compile_reference(reference, Path(folder))
            candidates = CandidateFiles(network, request.assignments, reference, own, Path(folder))
            for number, answer in self._answers(candidates):
                assignment = request.assignments[number]
                graph = {} if isinstance(answer, NetworkError) else network.summarize(assignment)
                yield assignment, _reading(answer, own, graph)

    def _answers(self, candidates: CandidateFiles) -> Iterator[tuple[int, Any]]:
        for number, answer in self._pool.answers(candidates):
            candidates.remove(number)
            yield from candidates.take_settled(before=number)
            yield number, answer
        yield from candidates.take_settled(before=len(candidates))

    def _compile_reference(self, reference: bytes, folder: Path) -> dict[str, Any]:
        digest = hashlib.sha256(reference).hexdigest()
        if self._reference[0] != digest:
            check_int8(read_model(reference), "the reference network")
            answer = self._compile(reference, folder)
            if isinstance(answer, NetworkError):
                raise InputError(f"Expected a reference network that Vela can compile. Received: {answer}")
            self._reference = digest, answer
        return self._reference[1]

    def _compile(self, network: bytes, folder: Path) -> Any:
        file = folder / "single.tflite"
        file.write_bytes(network)
        ((_, answer),) = self._pool.answers([(0, {"network": str(file)})])
        return answer

    def close(self) -> None:
        """Ends the processes."""
        self._pool.close()


def _reading(answer: Any, own: Mapping[str, Any], graph: Mapping[str, Any]) -> Reading:
    """Returns what a worker's answer for a candidate says beside that for the reference.

    Args:
      answer: Fields of an `EthosUEstimate`, or why there is none.
      own: Those of the reference.
      graph: What the candidate's graph holds.
    """
    if isinstance(answer, NetworkError):
        return Reading(failure=str(answer), conditions={"crashed": True} if answer.crashed else {})
    fallen, usual = (collections.Counter(one["cpu_operators"]) for one in (answer, own))
    conditions = {**graph, "cpu_operators": dict(fallen)} if fallen else graph
    if more := fallen - usual:
        names = ", ".join(f"{name} {count}" if count > 1 else name for name, count in more.items())
        failure = f"operators that the reference network does not have would run on the CPU: {names}"
        return Reading(conditions=conditions, failure=failure)
    return Reading(_values(answer), _values(own), conditions)


def _values(answer: Mapping[str, Any]) -> dict[str, tuple[float]]:
    return {metric: (float(answer[field]),) for metric, (_, field) in _METRICS.items()}


def _number(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        raise InputError(f"Expected a number for {name}. Received: {text!r}.") from error
