"""Files of candidates on their way through processes that compile them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.devices.device import Network
from keras_actnas.tflite_bench.process import NetworkError


class CandidateFiles:
    """Files of candidates, each made when the iteration comes to it; what need not be worked on is set aside.

    Args:
      network: What candidates are made from.
      assignments: The candidates.
      reference: The reference network's file.
      reference_answer: The answer for it, which is that of every candidate with the same file.
      folder: Where the files are.
    """

    def __init__(
        self,
        network: Network,
        assignments: Sequence[Assignment],
        reference: bytes,
        reference_answer: Mapping[str, Any],
        folder: Path,
    ) -> None:
        self._network = network
        self._assignments = assignments
        self._reference = reference
        self._reference_answer = reference_answer
        self._folder = folder
        self._settled: list[tuple[int, Any]] = []

    def __len__(self) -> int:
        return len(self._assignments)

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields number and request of each that has to be worked on."""
        for number, assignment in enumerate(self._assignments):
            try:
                candidate = self._network.edit(assignment)
            except InputError as error:
                self._settled.append((number, NetworkError(str(error))))
                continue
            if candidate == self._reference:
                self._settled.append((number, self._reference_answer))
                continue
            self._file(number).write_bytes(candidate)
            yield number, {"network": str(self._file(number))}

    def remove(self, number: int) -> None:
        """Removes the file of a candidate that is done with."""
        self._file(number).unlink()

    def take_settled(self, before: int) -> list[tuple[int, Any]]:
        """Returns number and answer of those that cannot be edited, or are the reference itself; each once.

        Args:
          before: Those with a number below this one, so that one process by itself keeps the order.
        """
        taken = [item for item in self._settled if item[0] < before]
        self._settled = [item for item in self._settled if item[0] >= before]
        return taken

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.tflite"
