"""What quantization does to a network: one error for each site, by activation, and for each output."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import statistics

from keras_actnas.core.files import write_atomically

COLUMNS = ("tensor", "activation", "sqnr_db", "relative_rms", "own_sqnr_db", "own_relative_rms", "clipped")


@dataclasses.dataclass(frozen=True)
class TensorError:
    """The error of one tensor of an int8 network.

    Attributes:
      name: The site, or `output 0`.
      activation: The site's activation; "" of an output, and where graph editing does not know it.
      sqnr: Signal-to-quantization-noise ratio in dB with the error of all that comes before, the ratio of the sums of
        squares of the float32 tensor and of the difference; 6 dB are one bit.
      own_sqnr: The same of the activation alone, fed with the float32 network's values; None where it is not known.
      clipped: Share of the float32 values that lie outside of the tensor's int8 range.
    """

    name: str
    activation: str
    sqnr: float | None
    own_sqnr: float | None = None
    clipped: float | None = None


@dataclasses.dataclass(frozen=True)
class ActivationError:
    """The errors of the sites of one activation, in dB: medians, and the worst one.

    Attributes:
      activation: The activation.
      sites: How many sites have it.
      sqnr: Median of the accumulated SQNR.
      worst: The smallest of these.
      own_sqnr: Median of the sites' own SQNR; None where none is known.
    """

    activation: str
    sites: int
    sqnr: float
    worst: float
    own_sqnr: float | None


@dataclasses.dataclass(frozen=True)
class QuantizationReport:
    """The errors of an int8 network.

    Attributes:
      sites: One for each application of a site's activation, in the order of the network.
      outputs: One for each output.
      images: How many images they were measured on.
    """

    sites: tuple[TensorError, ...]
    outputs: tuple[TensorError, ...]
    images: int

    def by_activation(self) -> list[ActivationError]:
        """Returns the errors of each activation, the largest own error first.

        >>> sites = (TensorError("a", "relu", 30.0, 50.0), TensorError("b", "silu", 28.0, 35.0))
        >>> [each.activation for each in QuantizationReport(sites, (), 1).by_activation()]
        ['silu', 'relu']
        """
        names = dict.fromkeys(site.activation for site in self.sites)
        groups = [_grouped(name, [site for site in self.sites if site.activation == name]) for name in names]
        return sorted(groups, key=lambda group: float("inf") if group.own_sqnr is None else group.own_sqnr)

    def to_csv(self) -> str:
        """Returns one line for each site and output, with SQNR in dB and the error's relative root mean square."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for each in (*self.sites, *self.outputs):
            errors = [_number(each.sqnr), relative_rms(each.sqnr), _number(each.own_sqnr), relative_rms(each.own_sqnr)]
            writer.writerow([each.name, each.activation, *errors, _number(each.clipped)])
        return text.getvalue()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the CSV; raises `InputError` when the file cannot be written."""
        write_atomically(path, self.to_csv())

    def __str__(self) -> str:
        lines = [
            f"int8 error on {self.images} images, SQNR in dB: medians over the sites of an activation",
            f"{'activation':16} {'sites':>5} {'own':>7} {'accumulated':>12} {'worst':>7}",
        ]
        for group in self.by_activation():
            own = "-" if group.own_sqnr is None else f"{group.own_sqnr:.1f}"
            label = group.activation or "(another)"
            lines.append(f"{label:16} {group.sites:5} {own:>7} {group.sqnr:12.1f} {group.worst:7.1f}")
        lines += [f"{each.name}: {each.sqnr:.1f} dB" for each in self.outputs]
        return "\n".join(lines)


def relative_rms(sqnr: float | None) -> str:
    """Returns the error's root mean square relative to the signal's, of an SQNR in dB, for a CSV.

    >>> relative_rms(40.0)
    '0.01'
    """
    return "" if sqnr is None else _number(10 ** (-sqnr / 20))


def _grouped(activation: str, sites: list[TensorError]) -> ActivationError:
    accumulated = [site.sqnr for site in sites if site.sqnr is not None]
    own = [site.own_sqnr for site in sites if site.own_sqnr is not None]
    median = statistics.median(own) if own else None
    return ActivationError(activation, len(sites), statistics.median(accumulated), min(accumulated), median)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
