"""The loop that the studies share: every assignment with every seed, written down as it comes, resumable.

Seeds are the outer loop: with each seed that is complete, all assignments have been trained equally often.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from candidates import candidates

from keras_actnas.core import Assignment, InputError
from keras_actnas.core.errors import closest


def parser(description: str) -> argparse.ArgumentParser:
    """Returns a parser that has the flags of every study."""
    flags = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--seeds", type=int, default=3)
    flags.add_argument("--first_seed", type=int, default=0)
    flags.add_argument("--count", type=int, default=64, help="assignments")
    flags.add_argument(
        "--before", type=int, default=0, help="epochs that the reference is trained for first: all others go on from it"
    )
    flags.add_argument("--before_rate", type=float, help="highest learning rate of these; by default --rate")
    flags.add_argument(
        "--before_seed", type=int, help="seed of that training; by default each seed's own, so that starts differ, too"
    )
    flags.add_argument("--only", help="names of assignments, with semicolons between them; all when not given")
    flags.add_argument("--threads", type=int, default=1)
    flags.add_argument("--pause", default="", help="a file; while it exists, nothing is trained")
    flags.add_argument("--out", required=True, help="JSON lines")
    return flags


def first_seed(options: argparse.Namespace, seed: int) -> int:
    """Returns the seed of the reference's training that a training with a seed goes on from."""
    return seed if options.before_seed is None else options.before_seed


def recipe_of(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Returns the flags that make a training what it is."""
    more = ["before_seed"] if options.before_seed is not None else []
    return {name: getattr(options, name) for name in [*names, *more]}


def run(
    options: argparse.Namespace,
    reference: Assignment,
    recipe: Mapping[str, Any],
    train: Callable[[Assignment, int], Mapping[str, Any]],
) -> None:
    """Trains what `--out` does not have yet, and appends a line of JSON for each training.

    Args:
      options: What `parser` read.
      reference: An assignment of the network, for its sites.
      recipe: What else makes a training what it is. Lines of another recipe stay in the file and do not count.
      train: Trains an assignment from a seed. Returns what goes on the line; first the measure of the study.

    Raises:
      InputError: `--only` names an assignment that there is not, or `--before` is no number of epochs, or 0 with a
        rate or a seed for them.
    """
    assignments = candidates(reference, options.count)
    names = _checked(options, assignments)
    path = Path(options.out)
    done = {(line["seed"], line["name"]) for line in read_lines(path) if line["recipe"] == recipe}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name in names:
            if (seed, name) in done:
                continue
            waiting(options.pause)
            start = time.process_time()
            found = train(assignments[name], seed)
            # Of the processor: neither a pause nor what else the machine does makes a training look longer.
            line = {"name": name, "seed": seed, **found, "seconds": round(time.process_time() - start, 1)}
            with path.open("a") as file:
                file.write(json.dumps({**line, "recipe": recipe, "assignment": dict(assignments[name])}) + "\n")
            measure, value = next(iter(found.items()))
            print(f"{name}, seed {seed}: {measure} {value:.4f} in {line['seconds']} s", flush=True)


def _checked(options: argparse.Namespace, assignments: Mapping[str, Assignment]) -> list[str]:
    """Returns the names of what is to be trained."""
    of_before = options.before_rate is not None or options.before_seed is not None
    if options.before < 0 or (of_before and not options.before):
        raise InputError(
            "Expected --before of some epochs, for --before_rate and --before_seed to be of them. Received: "
            f"--before={options.before}."
        )
    names = [name.strip() for name in options.only.split(";")] if options.only else list(assignments)
    unknown = [name for name in names if name not in assignments]
    if unknown:
        raise InputError(
            "Expected assignments of the study (--only, with semicolons between them), such as 'all relu'. Received: "
            f"{unknown[0]!r}.{closest(unknown[0], assignments)}"
        )
    return names


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Returns what a study has written; the part of a line that a kill has left at the end is cut off."""
    content = path.read_text() if path.exists() else ""
    whole = content[: content.rfind("\n") + 1]
    if whole != content:
        path.write_text(whole)
    return [json.loads(line) for line in whole.splitlines()]


def waiting(file: str) -> None:
    """Waits while a file exists, so that a long study can make room for a timing measurement."""
    while file and Path(file).exists():
        time.sleep(2)
