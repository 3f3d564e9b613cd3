"""What every device is: something that measures candidates of a network."""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.sites import Site
from keras_actnas.core.table import MetricTable

LATENCY = "latency"

TRIES = 3
"""How often a candidate is measured until nothing disturbs it."""


class Network(Protocol):
    """A converted network from which the file of any assignment is made, such as `export.TFLiteNetwork`.

    Attributes:
      reference: The assignment that the file itself has.
      sites: The sites in the order of execution, with the shapes of their outputs.
    """

    reference: Assignment
    sites: list[Site]

    def edit(self, assignment: Mapping[str, str]) -> bytes:
        """Returns the file of an assignment; raises `InputError` for one that the format cannot hold."""

    def summarize(self, assignment: Mapping[str, str]) -> Mapping[str, Any]:
        """Returns what the graph of an assignment holds, as values that JSON can hold: operators, memory, ..."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a device says of one candidate.

    Attributes:
      samples: Metric -> raw values in the order of measuring, in the unit of the metric; one value for a metric that
        is computed. Besides the device's `metrics`, whose values make tables, others may be here.
      reference_samples: Metric -> raw values of the reference network, one for each sample: sample i was taken right
        beside the candidate's sample i.
      conditions: What else is worth knowing: operators of the network, the state of the board, ...
      failure: Why the device cannot run the candidate; empty when it can. There are no samples then.
    """

    samples: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
    reference_samples: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
    conditions: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    failure: str = ""

    @property
    def disturbed(self) -> str:
        """What disturbed the measurement, which is kept but made again; empty for nothing."""
        return str(self.conditions.get("disturbed", ""))


@dataclasses.dataclass(frozen=True)
class Request:
    """What a device is asked to measure, as a value that can be written to a file and carried to it.

    Attributes:
      assignments: The candidates, in the order of measuring.
      reference: The network that every candidate is measured beside.
      runs: Timed runs of each, in turns.
      purpose: "design" (to fit a table), "round" (a proposal that the table is fitted to as well), "verify" (to check a
        proposal), "confirm" or "probe". What was measured for one purpose does not count for another, unless the device
        is exact.
      model: Fingerprint of the model.
      inspect: Whether each candidate is inspected as well: see `Device.inspect`.
      reopen: Whether a device whose figures depend on where networks come to lie in memory opens both several times
        among the runs, not once: dearer, and right where a network counts by itself.
      least_runs: What was measured before counts if it has at least so many runs.
    """

    assignments: tuple[Assignment, ...]
    reference: Assignment
    runs: int = 1
    purpose: str = "design"
    model: str = ""
    inspect: bool = False
    reopen: bool = False
    least_runs: int = 1

    def to_json(self) -> dict[str, Any]:
        """Returns the request as values that JSON can hold; assignments by what differs from the reference."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        swaps = [assignment.swaps(self.reference) for assignment in self.assignments]
        return {**content, "reference": dict(self.reference), "assignments": swaps}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Request:
        """Returns the request that `to_json` described."""
        reference = Assignment(content["reference"])
        assignments = tuple(reference.with_swaps(swaps) for swaps in content["assignments"])
        return cls(**{**content, "reference": reference, "assignments": assignments})


class Device(abc.ABC):
    """A target that candidates are measured on. A board of one's own needs `describe` and `measure`.

    >>> class Board(Device):
    ...     name = "my-board"
    ...
    ...     def describe(self):
    ...         return {"board": "rev B", "firmware": "1.4"}
    ...
    ...     def measure(self, candidate, reference, runs):
    ...         times = [(len(candidate) / 1e3, len(reference) / 1e3) for _ in range(runs)]  # Run both, in turns.
    ...         mine, other = zip(*times)
    ...         return Reading({"latency": mine}, {"latency": other})
    >>> Board().measure(b"a network", b"the other", 2).samples["latency"]
    (0.009, 0.009)

    Attributes:
      name: What the user calls the device, such as "vela:ethos-u65-512".
      metrics: Metrics that tables are made of -> unit; the first is what budgets of time are about.
      precision: Precision of the networks that it runs: "float32", "float16" or "int8".
      suffix: File name extension of its networks.
      exact: Whether the same candidate always gives the same values, so that one run says it all.
      estimated: Whether its values are a model's estimates, not measured.
      available: The only assignments that there are measurements of, with the purpose of each, where a device has
        measured already; None for a device that measures whatever it is given.
      model: Fingerprint of the model that it has measured, likewise.
    """

    name: str = "device"
    metrics: Mapping[str, str] = {LATENCY: "ms"}
    precision: str = "float32"
    suffix: ClassVar[str] = ".tflite"
    exact: bool = False
    estimated: bool = False
    available: Mapping[Assignment, str] | None = None
    model: str | None = None

    @abc.abstractmethod
    def describe(self) -> Mapping[str, Any]:
        """Returns what tells this device from others: board, CPU, versions. Measurements of others are not mixed in."""

    @abc.abstractmethod
    def measure(self, candidate: bytes, reference: bytes, runs: int) -> Reading:
        """Measures one candidate beside the reference network.

        Args:
          candidate: The candidate's file.
          reference: The reference network's file.
          runs: Timed runs of each, in turns; a device that computes its values needs no more than one.

        Returns:
          What was measured, or with `failure` why the device cannot run the candidate.

        Raises:
          InputError: The device itself cannot be used (it is gone, say), so that going on makes no sense.
        """

    @property
    def conditions(self) -> Mapping[str, Any]:
        """What measurements depend on besides the device: threads, delegate, ... Those under others do not count."""
        return {}

    def measure_as(self, candidate: bytes, reference: bytes, request: Request) -> Reading:
        """Measures one candidate as a request wants it; a device that heeds more than the runs has its own."""
        return self.measure(candidate, reference, request.runs)

    def inspect(self, candidate: bytes) -> Mapping[str, float]:
        """Returns what one look at a candidate tells besides `measure`: metric -> value, such as its memory in KiB.

        It is asked of proposals, and not of every candidate of a design.
        """
        return {}

    def measure_all(self, network: Network, request: Request) -> Iterator[tuple[Assignment, Reading]]:
        """Measures candidates one by one, in the given order; what was disturbed is measured again at the end.

        Unless all of them were, as by a power supply that is too weak.

        Args:
          network: What candidates are made from.
          request: The candidates, and how they are measured.

        Yields:
          Each assignment with its reading as soon as it is made. A disturbed one comes again.
        """
        own = network.edit(request.reference)
        left: Sequence[Assignment] = request.assignments
        for _ in range(TRIES):
            disturbed = []
            for assignment in left:
                reading = self._measure_assignment(network, assignment, own, request)
                if reading.disturbed:
                    disturbed.append(assignment)
                yield assignment, reading
            if len(disturbed) == len(left) > 1:  # What disturbs each of them will not be over soon.
                return
            left = disturbed

    def _measure_assignment(
        self, network: Network, assignment: Assignment, reference: bytes, request: Request
    ) -> Reading:
        try:
            candidate = network.edit(assignment)
        except InputError as error:
            return Reading(failure=str(error))
        reading = self.measure_as(candidate, reference, request)
        conditions = {**network.summarize(assignment), **reading.conditions}
        more: Mapping[str, float] = {}
        if request.inspect and not reading.failure:
            try:
                more = self.inspect(candidate)
            except InputError as error:  # No reason to throw away what was measured.
                conditions["not_inspected"] = str(error)
        samples = {**reading.samples, **{metric: (value,) for metric, value in more.items()}}
        return dataclasses.replace(reading, samples=samples, conditions=conditions)

    def tables(self, reference: Assignment) -> dict[str, MetricTable] | None:
        """Returns the tables that the device brings along, by metric; None for one that has to measure."""
        return None

    def convert(self, model: Any, path: str | os.PathLike[str], images: Iterable[Any] | None = None) -> Any:
        """Converts a Keras model to the file that candidates are made from; returns a report to print.

        Args:
          model: The Keras model.
          path: The file to write.
          images: Preprocessed images, for the calibration of int8.
        """
        from keras_actnas.export import to_editable

        return to_editable(model, path, self.precision, images if self.precision == "int8" else None)

    def open_network(self, path: str | os.PathLike[str]) -> Network:
        """Returns the network that `convert` wrote."""
        from keras_actnas.export import TFLiteNetwork

        return TFLiteNetwork(path)

    def probe(self, network: Network, reference: Assignment) -> float:
        """Returns about how long the reference takes, in ms: the median of a few runs.

        Raises:
          InputError: The device cannot run the reference.
        """
        request = Request((reference,), reference, runs=5, purpose="probe")
        ((_, reading), *_) = self.measure_all(network, request)
        if reading.failure:
            raise InputError(f"Expected a network that {self.name} can run. Received: {reading.failure}")
        return float(np.median(reading.samples[next(iter(self.metrics))]))

    def close(self) -> None:  # noqa: B027
        """Ends what the device has started, such as processes or connections."""

    def __enter__(self) -> Device:
        """Returns the device, which is closed when the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
