"""The rounds of a closed loop: what was predicted, what was measured, and how the two came together."""

from __future__ import annotations

from keras_actnas.core.rounds import NEGLIGIBLE, Round
from keras_actnas.core.table import Estimate
from keras_actnas.report.layout import note, section, typeset
from keras_actnas.report.markup import Markup, table
from keras_actnas.report.run import Run
from keras_actnas.report.text import change_text

_HOW = (
    "In every round the solver's proposals are built and measured, and the tables are fitted again to all that was "
    "measured so far. Predictions are those from before the round; the first proposal is the one predicted best. A "
    "solver goes where a table errs in its favour: that is a bias below zero, of what is minimized. The loop ends when "
    "every difference, and their mean, is within twice its standard error, or below "
    f"{100 * NEGLIGIBLE:g} % of the reference. Behind ± is one standard error."
)


def rounds_section(run: Run) -> Markup:
    """Returns what each round found; a sentence where there was no loop."""
    if not run.rounds:
        text = "There was no loop: proposals were measured once, at the end. With --loop the tables learn from them."
        return section("Rounds of the loop", note(text))
    header = ("round", "metric", "proposals", "first predicted", "first measured", "error", "bias", "agree")
    rows = [row for number, one in enumerate(run.rounds, start=1) for row in _rows(number, one)]
    return section(
        "Rounds of the loop", table(header, rows, "Predicted and measured in each round", "kinds"), note(_HOW)
    )


def _rows(number: int, one: Round) -> list[list[str]]:
    rows = []
    for metric, found in one.agreement.items():
        factor, sign = found.scale
        own = Estimate(found.reference, 0.0)
        best = one.proposals[0]
        cells = [
            str(number),
            metric,
            str(len(one.proposals)),
            change_text(best.predicted[metric], own, found.unit),
            change_text(best.measured[metric], own, found.unit),
            f"{factor * found.error:.2f}{sign}",
            f"{factor * found.bias:+.2f}{sign}",
            "yes" if found.agrees else "no",
        ]
        rows.append([typeset(cell) for cell in cells])
    return rows
