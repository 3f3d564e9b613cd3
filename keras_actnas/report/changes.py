"""What was predicted of each network beside what came, as changes against the reference with their errors."""

from __future__ import annotations

import dataclasses

from keras_actnas.core.proposal import Proposal
from keras_actnas.core.table import Estimate
from keras_actnas.report.layout import typeset
from keras_actnas.report.markup import Markup, element, figure, line, text
from keras_actnas.report.pareto import error_of, marker
from keras_actnas.report.run import Run
from keras_actnas.report.scales import WIDTH, Scale, around, x_axis
from keras_actnas.report.text import change_text, scale_of_changes

_ROW, _TOP, _LEFT = 24, 8, 108


def changes_plot(run: Run, metric: str) -> Markup | None:
    """Returns a line for each network: its predicted and its own change of a metric, with 1.96 standard errors.

    None when the reference has no value of the metric.
    """
    own = run.reference.measured.get(metric)
    if own is None:
        return None
    lines = [_Line.of(run, row, metric, own) for row in run.networks]
    known = [value for one in lines for value in (one.predicted, one.found) if value]
    scale = around([0.0, *(end for value in known for end in _ends(value))], _LEFT, WIDTH - 14, 0.04)
    bottom = _TOP + _ROW * len(lines)
    sign = scale_of_changes(own, run.units[metric])[1].strip()
    label = f"change of {metric} against the reference{f', {sign}' if sign else ''}"
    parts = x_axis(scale, _TOP, bottom, label)
    parts.append(line(scale(0.0), _TOP, scale(0.0), bottom, "zero"))
    parts += [one.draw(scale, _TOP + _ROW * (number + 0.5)) for number, one in enumerate(lines)]
    return figure(WIDTH, bottom + 40, f"{label}, predicted and {run.found_how(metric)}, for each network", *parts)


@dataclasses.dataclass(frozen=True)
class _Line:
    """One network in the figure: its name, its kind, its two changes, and both as a sentence."""

    name: str
    kind: str
    predicted: Estimate | None
    found: Estimate | None
    said: str

    @classmethod
    def of(cls, run: Run, row: Proposal, metric: str, own: Estimate) -> _Line:
        unit, values = run.units[metric], (row.predicted.get(metric), row.measured.get(metric))
        texts = [change_text(value, own, unit) for value in values]
        return cls(
            row.name,
            "proposal" if row in run.proposals else "uniform",
            _share(values[0], own, unit),
            _share(values[1], own, unit),
            typeset(f"{row.name}: predicted {texts[0]}, {run.found_how(metric)} {texts[1]}"),
        )

    def draw(self, scale: Scale, y: float) -> Markup:
        """Returns the prediction as a hollow triangle above, and the network's own value as its marker below."""
        parts = [element("title", self.said), text(_LEFT - 8, y + 4, self.name, "end", "label")]
        if self.predicted:
            x, above = scale(self.predicted.value), y - 4
            corners = f"{x:.1f},{above - 4:.1f} {x + 4.5:.1f},{above + 4:.1f} {x - 4.5:.1f},{above + 4:.1f}"
            parts += [_bar(self.predicted, scale, above), element("polygon", points=corners, class_="predicted")]
        if self.found:
            parts += [_bar(self.found, scale, y + 5), marker(self.kind, scale(self.found.value), y + 5, 4.0)]
        return element("g", *parts, class_=self.kind)


def _share(value: Estimate | None, own: Estimate, unit: str) -> Estimate | None:
    """Returns the change against the reference: in percent where there is a unit, else as a difference."""
    if value is None:
        return None
    scale, _ = scale_of_changes(own, unit)
    return Estimate((value.value - own.value) * scale, value.standard_error * abs(scale))


def _bar(value: Estimate, scale: Scale, y: float) -> Markup:
    low, high = _ends(value)
    return line(scale(low), y, scale(high), y, "bar")


def _ends(value: Estimate) -> tuple[float, float]:
    """Returns the ends of a value's 95 % interval."""
    reach = 1.96 * error_of(value)
    return value.value - reach, value.value + reach
