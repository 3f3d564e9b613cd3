"""Reads the assignment that a flag names."""

from __future__ import annotations

from pathlib import Path

from keras_actnas.core.activations import canonical_name
from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError, closest
from keras_actnas.core.proposal import load_proposals


def read_assignments(text: str, reference: Assignment) -> list[Assignment]:
    """Returns complete assignments: all those of a `proposals.json`, or the one that `read_assignment` returns."""
    if Path(text).name == "proposals.json":
        return [reference.with_swaps(proposal.assignment) for proposal in load_proposals(text)]
    return [read_assignment(text, reference)]


def read_assignment(text: str, reference: Assignment) -> Assignment:
    """Returns a complete assignment.

    Args:
      text: The name of an activation, for every site; a JSON file of site: activation, whose missing sites keep the
        reference's; or `proposals.json#NAME`.
      reference: The model's own assignment.

    Raises:
      InputError: The file cannot be read, has no such proposal, or is for another model.
    """
    path, _, name = text.partition("#")
    if name:
        proposals = {proposal.name: proposal for proposal in load_proposals(path)}
        if name not in proposals:
            raise InputError(f"Expected a proposal in {path}. Received: {name!r}.{closest(name, proposals)}")
        return reference.with_swaps(proposals[name].assignment)
    if path.endswith(".json"):
        try:
            assignment = Assignment.load(path)
        except InputError as error:
            raise InputError(
                f"Expected a JSON file of site: activation, or proposals.json#NAME. Received: {text} ({error})"
            ) from error
        return reference.with_swaps(assignment)
    return Assignment.uniform(reference, canonical_name(text))
