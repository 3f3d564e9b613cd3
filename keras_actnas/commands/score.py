"""keras-actnas score: score assignments without training: the accuracy table of a run.

keras-actnas score --model=yolov5n --image_size=320                    scores the table into the run folder
keras-actnas score --model=yolov5n --assignment=best.json              scores one assignment, and the reference
"""

from __future__ import annotations

from typing import Any

from absl import flags

from keras_actnas.commands.assignments import read_assignment
from keras_actnas.commands.runs import define_run_flags, load_score_model, make_search, make_settings, progress
from keras_actnas.core.errors import InputError


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    define_run_flags(values)
    flags.DEFINE_string(
        "assignment",
        None,
        "An activation, a JSON file of site: activation, or proposals.json#NAME.",
        flag_values=values,
    )


def run(values: Any, positional: list[str]) -> None:
    """Runs the command."""
    if positional:
        raise InputError(f"Expected flags only. Received: {positional[0]!r}.")
    if values.assignment is None:
        search = make_search(values)
        with search.device:
            table = search.score()
        own = f"{table.metric} of the reference: {table.reference_value.value:.5g}"
        print(f"{own}; table in {search.folder.path / 'tables'}")
        return
    settings = make_settings(values)
    model = load_score_model(values)
    from keras_actnas.search import make_proxies

    proxies = make_proxies(model, settings, progress=progress)
    metric, reference = proxies[0].metric, proxies[0].reference
    assignment = read_assignment(values.assignment, reference)
    for seed, batch in settings.score_starts():
        own, other = proxies[batch].score({}, seed), proxies[batch].score(assignment, seed)
        label = ("own weights" if seed is None else f"seed {seed}") + (f", batch {batch}" if batch else "")
        print(f"{label}: {metric} {other:.5g}, reference {own:.5g}, difference {other - own:+.5g}")
