"""keras-actnas search: from a model to the activation every layer should have.

Converts the model once, measures and scores networks with mixed activations, fits the tables, solves, and verifies:
every proposal is built, measured beside the reference and scored. Example:

  keras-actnas search --model=yolov5n --image_size=320

The run folder holds: report.html (everything, for a browser), journal.jsonl (every raw measurement), tables/*.csv and
*.json, *.png heat maps, proposals.json, best.json, best.keras, best.tflite, summary.txt. Killed and started again, the
command continues.
"""

from __future__ import annotations

import os
from typing import Any

from absl import flags

from keras_actnas.commands.runs import define_run_flags, make_search
from keras_actnas.core.errors import InputError, MissingDependencyError
from keras_actnas.core.files import write_atomically
from keras_actnas.report import proposals_table, save_heatmap, save_report, verdict


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    define_run_flags(values)


def run(values: Any, positional: list[str]) -> None:
    """Runs the command."""
    if positional:
        raise InputError(f"Expected flags only. Received: {positional[0]!r}; write --model={positional[0]}.")
    search = make_search(values)
    with search.device:
        result = search.run()
    summary = summarize(result)
    write_atomically(search.folder.file("summary.txt"), summary + "\n")
    print(f"\n{summary}\n")
    try:
        for table in result.tables.values():
            save_heatmap(table, search.folder.file(f"{table.metric}.png"))
    except MissingDependencyError as error:  # No reason to fail when everything else is done.
        print(error)
    try:
        save_report(search.folder.path, search.folder.file("report.html"))
    except InputError as error:  # Nor is this.
        print(error)
    print(
        f"Results in {os.fspath(search.folder.path)}: best.keras, best{search.device.suffix}, report.html, "
        "proposals.json, tables/."
    )
    print(", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in search.seconds.items()))


def summarize(result: Any) -> str:
    """Returns the result of a search as text."""
    settings = result.settings
    proxy = settings.kind.name
    asked = (*settings.goal.metrics, *(constraint.metric for constraint in settings.constraints), proxy)
    units = {metric: unit for metric, unit in result.units.items() if metric in asked}
    others = {metric: unit for metric, unit in result.units.items() if metric not in asked}
    lines = [
        proposals_table(result.reference, result.proposals, result.baselines, units, settings.constraints, others),
        "",
        *(verdict(result.reference, result.best, metric, unit) for metric, unit in units.items()),
        *result.notes,
    ]
    broken = [c for c in settings.constraints if result.best.standing(c, result.reference) == "broken"]
    if broken:
        lines.append(
            f"No proposal keeps {'; '.join(map(str, broken))} as measured; {result.best.name} comes closest. "
            "Measure more networks (--networks), or relax the constraint."
        )
    if result.best.assignment == result.reference.assignment:
        kept = "; ".join(map(str, settings.constraints))
        sure = f" with a probability of {settings.confidence:g}" if settings.confidence else ""
        lines.append(
            f"{result.best.name} is the reference itself: nothing that is better keeps {kept}{sure}. Allow more "
            "(--constraint), or have more networks scored."
        )
    device_metrics = [metric for metric in result.units if metric in result.tables and metric != proxy]
    estimated = any(result.tables[metric].context.get("estimated") for metric in device_metrics)
    measured = all(metric in result.best.measured for metric in device_metrics)
    trains = settings.kind.noisy or settings.kind.labelled
    untrained = not trains and settings.score_starts()[0][0] is not None
    state = "with the weights as they are"
    if settings.kind.noisy:
        state = f"of each network after {settings.train_steps} steps of fine-tuning"
    elif settings.kind.labelled:
        state = f"of weights that all networks share, the mean over {max(settings.seeds, 1)} trainings"
    elif untrained:
        state = f"of untrained networks, the mean over {settings.seeds} initializations"
    twice = "" if estimated or not measured else f"; {result.best.name} was measured twice"
    lines.append(f"{proxy} is the score {state}; +- is one standard error{twice}.")
    if estimated:
        lines.append(f"{', '.join(device_metrics)}: estimates of {result.device}, not measured.")
    if not measured:
        lines.append(
            f"{result.device} has no measurements of the proposals: their {', '.join(device_metrics)} are predictions. "
            "A bundle of them (keras-actnas bundle --assignment=proposals.json) measures them on the device; after "
            "--device=journal:..., search again with both journals."
        )
    lines.append("Weights were carried over, not trained: fine-tune best.keras before you use it.")
    if untrained:
        lines.append(f"{proxy} need not follow accuracy. With labelled data, --train_data goes by fine-tunings.")
    return "\n".join(lines)
