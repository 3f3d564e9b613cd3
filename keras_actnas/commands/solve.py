"""keras-actnas solve: find the best assignments that tables promise.

  keras-actnas solve --out=runs/yolov5n-320 --constraint='latency<=90%' --maximize=nwot
  keras-actnas solve --table=latency.json --table=nwot.json --minimize=latency

Nothing is measured; `keras-actnas search` with the same flags verifies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags

from keras_actnas.commands.runs import define_solve_flags, objective
from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.proposal import save_proposals
from keras_actnas.core.table import MetricTable


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    define_solve_flags(values)
    flags.DEFINE_string("out", None, "Run folder whose tables are used.", flag_values=values)
    flags.DEFINE_multi_string("table", [], "Metric tables as .json or .csv, in place of --out.", flag_values=values)
    flags.DEFINE_string(
        "reference", None, "The reference's assignment (JSON), which tables in .csv need.", flag_values=values
    )
    flags.DEFINE_string(
        "proposals", None, "A JSON file to write the proposals to; by default they are printed.", flag_values=values
    )


def run(values: Any, positional: list[str]) -> None:
    """Runs the command."""
    if positional or bool(values.out) == bool(values.table):
        raise InputError("Expected either --out=RUN_FOLDER or --table=FILE, once for each table.")
    from keras_actnas.search import solve_ilp

    paths = [Path(path) for path in values.table] or sorted(Path(values.out, "tables").glob("*.json"))
    if not paths:
        raise InputError(
            f"Expected tables in {values.out}/tables. Received: none; run `keras-actnas bench` and `score`."
        )
    tables = {table.metric: table for table in (_load(path, values.reference) for path in paths)}
    arguments = objective(values, tables)
    result = solve_ilp(tables, **arguments)
    for proposal in result.proposals:
        metrics = ", ".join(
            f"{metric} {value.value:.3f} ({value.value - tables[metric].reference_value.value:+.3f} +- "
            f"{value.standard_error:.3f})"
            for metric, value in proposal.predicted.items()
        )
        counts = " ".join(f"{count} {name}" for name, count in proposal.assignment.counts().items())
        print(f"{proposal.name} ({proposal.status}): {metrics}; {counts}")
    if values.proposals:
        context = {**arguments, "constraints": [str(constraint) for constraint in arguments["constraints"]]}
        save_proposals(values.proposals, result.proposals, context)


def _load(path: Path, reference: str | None) -> MetricTable:
    if path.suffix == ".csv" and reference is None:
        raise InputError(f"Expected --reference=ASSIGNMENT.json with a table in CSV. Received: {path} alone.")
    return MetricTable.load(path, None if reference is None else Assignment.load(reference))
