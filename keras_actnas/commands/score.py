"""keras-actnas score: score assignments without training: the accuracy table of a run.

keras-actnas score --model=yolov5n --image_size=320                    scores the table into the run folder
keras-actnas score --model=yolov5n --assignment=best.json              scores one assignment, and the reference
"""

from __future__ import annotations

from typing import Any

from absl import flags

from keras_actnas.commands.assignments import read_assignment
from keras_actnas.commands.runs import define_run_flags, load_score_model, make_search, make_settings
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
        print(f"NWOT of the reference: {table.reference_value.value:.3f}; table in {search.folder.path / 'tables'}")
        return
    settings = make_settings(values)
    model = load_score_model(values)
    from keras_actnas.search import make_scorer

    scorer = make_scorer(model, settings)
    assignment = read_assignment(values.assignment, scorer.reference)
    for seed in settings.score_seeds():
        own, other = scorer.score({}, seed), scorer.score(assignment, seed)
        label = "own weights" if seed is None else f"seed {seed}"
        print(f"{label}: NWOT {other:.3f}, reference {own:.3f}, difference {other - own:+.3f}")
