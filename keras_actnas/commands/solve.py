"""keras-actnas solve: find the best assignments that tables promise.

  keras-actnas solve --out=runs/yolov5n-320 --constraint='latency<=90%' --maximize=nwot
  keras-actnas solve --table=latency.json --table=nwot.json --minimize=latency --pin=stem=relu --confidence=0.95
  keras-actnas solve --out=runs/yolov5n-320 --method=pareto --minimize=latency --maximize=nwot

Nothing is measured; `keras-actnas search` with the same flags verifies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from keras_actnas.commands.runs import define_solve_flags, limits, objective
from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.proposal import Proposal, save_proposals
from keras_actnas.core.table import MetricTable

_ASKED = ("minimize", "maximize", "constraints", "rules", "confidence")
_LIMITS = ("minimize", "maximize", "constraint", "confidence", "pin", "group", "forbid", "max_activations")
# Method -> the flags that it heeds; others that are given would come to nothing.
_HEEDED = {
    "ilp": (*_LIMITS, "top_k", "min_distance", "solver"),
    "pareto": (*_LIMITS, "solver", "steps"),
    "random": (*_LIMITS, "seconds"),
    "naive": ("activation",),
    "lzcm": ("activation",),
}


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    flags.DEFINE_enum(
        "method", "ilp", list(_HEEDED),
        "ilp: the best, proven. pareto: what nothing beats in all of two or three metrics, those of --minimize and "
        "--maximize (lists). random, naive, lzcm: the paper's other searches.",
        flag_values=values,
    )  # fmt: skip
    define_solve_flags(values)
    flags.DEFINE_integer(
        "steps", 10, "Bounds on each metric but the first in a Pareto sweep; 0 for the whole front.",
        lower_bound=0, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_float("seconds", 10.0, "How long to draw at random.", lower_bound=0.0, flag_values=values)
    flags.DEFINE_string(
        "activation", "relu", "What naive and lzcm exchange for the reference's own.", flag_values=values
    )
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
    _check_heeded(values)
    paths = [Path(path) for path in values.table] or sorted(Path(values.out, "tables").glob("*.json"))
    if not paths:
        raise InputError(
            f"Expected tables in {values.out}/tables. Received: none; run `keras-actnas bench` and `score`."
        )
    tables = _load_all(paths, values.reference)
    question = _question(values, tables)
    proposals = _solve(values, tables, question)
    for proposal in proposals:
        metrics = ", ".join(
            f"{metric} {value.value:.3f} ({value.value - tables[metric].reference_value.value:+.3f} +- "
            f"{value.standard_error:.3f})"
            for metric, value in proposal.predicted.items()
        )
        counts = " ".join(f"{count} {name}" for name, count in proposal.assignment.counts().items())
        print(f"{proposal.name} ({proposal.status}): {metrics}; {counts}")
    if values.proposals:
        save_proposals(values.proposals, proposals, {"method": values.method, **_context(question)})


def _question(values: Any, tables: Mapping[str, MetricTable]) -> dict[str, Any]:
    """Returns the keyword arguments of the method's solver."""
    if values.method in ("naive", "lzcm"):
        return {"activation": values.activation}
    if values.method == "pareto":
        metrics = {name: _names(getattr(values, name)) for name in ("minimize", "maximize")}
        # A bound on what the front is about would cut it off; by default there is none.
        bounded = limits(values, set(tables) - {name for names in metrics.values() for name in names})
        return {**metrics, **bounded, "steps": values.steps or None, "solver": values.solver}
    question = objective(values, tables)
    if values.method == "random":
        return {**{name: question[name] for name in _ASKED}, "seconds": values.seconds}
    return question


def _solve(values: Any, tables: Mapping[str, MetricTable], question: dict[str, Any]) -> list[Proposal]:
    from keras_actnas.search import solvers

    found = getattr(solvers, f"solve_{values.method}")(tables, **question)
    if isinstance(found, Proposal):
        return [found]
    return list(found if isinstance(found, list) else found.proposals)


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _context(question: dict[str, Any]) -> dict[str, Any]:
    """Returns the question as values that JSON can hold."""
    if "rules" not in question:
        return question
    rules = dataclasses.asdict(question["rules"])
    return {**question, "constraints": [str(one) for one in question["constraints"]], "rules": rules}


def _check_heeded(values: Any) -> None:
    """Raises `InputError` for a flag that was given and that the method does not heed."""
    for name in dict.fromkeys(name for heeded in _HEEDED.values() for name in heeded):
        if values[name].present and name not in _HEEDED[values.method]:
            raise InputError(f"Expected flags that --method={values.method} heeds. Received: --{name}.")


def _load_all(paths: list[Path], reference: str | None) -> dict[str, MetricTable]:
    tables: dict[str, MetricTable] = {}
    for path in paths:
        table = _load(path, reference)
        if table.metric in tables:
            units = " and ".join(dict.fromkeys(unit or "no unit" for unit in (tables[table.metric].unit, table.unit)))
            raise InputError(
                f"Expected one table of each metric. Received: two of {table.metric} (in {units}): {path}."
            )
        tables[table.metric] = table
    return tables


def _load(path: Path, reference: str | None) -> MetricTable:
    if path.suffix == ".csv" and reference is None:
        raise InputError(f"Expected --reference=ASSIGNMENT.json with a table in CSV. Received: {path} alone.")
    return MetricTable.load(path, None if reference is None else Assignment.load(reference))
