"""How often a loop in a graph runs, told from its counters without running the graph."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

MOST_ROUNDS = 1_000_000
"""Loops that run longer are taken for endless."""

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "maximum": max,
    "minimum": min,
    "less": operator.lt,
    "lessequal": operator.le,
    "greater": operator.gt,
    "greaterequal": operator.ge,
    "equal": operator.eq,
    "notequal": operator.ne,
    "logicaland": lambda a, b: a and b,
    "logicalor": lambda a, b: a or b,
    "logicalnot": operator.not_,
    "identity": lambda a: a,
    "reshape": lambda a, *_: a,
    "squeeze": lambda a: a,
    # Of a single number, which is all that there is here.
    "max": lambda a, *_: a,
    "reducemax": lambda a, *_: a,
}
_ALIASES = {"addv2": "add", "addn": "add"}


class Scalars(Protocol):
    """A graph, as far as its single numbers go; tensors are named by hashable keys."""

    @property
    def inputs(self) -> Sequence[Any]:
        """The tensors that are given."""

    @property
    def outputs(self) -> Sequence[Any]:
        """The tensors that are computed."""

    def constant(self, tensor: Any) -> np.ndarray | None:
        """Returns the value of a constant, None for any other tensor."""

    def producer(self, tensor: Any) -> tuple[str, Sequence[Any]] | None:
        """Returns the name and the inputs of the operator that computes a tensor as its only output."""


def evaluate(graph: Scalars, tensor: Any, known: Mapping[Any, Any]) -> Any:
    """Returns the number that a tensor holds, None if it holds several or they depend on what is not known.

    Args:
      graph: The graph that `tensor` is in.
      tensor: The tensor.
      known: Values of some of the tensors, such as the graph's inputs; None for an unknown value.
    """
    if tensor in known:
        return known[tensor]
    constant = graph.constant(tensor)
    if constant is not None:
        return constant.reshape(-1)[0].item() if constant.size == 1 else None
    made = graph.producer(tensor)
    if made is None:
        return None
    name = made[0].lower().replace("_", "")
    function = _FUNCTIONS.get(_ALIASES.get(name, name))
    if function is None:
        return None
    values = [evaluate(graph, one, known) for one in made[1]]
    # The further inputs of a reshape and a maximum over axes are lists, of no concern here.
    needed = values[:1] if name in ("reshape", "max", "reducemax") else values
    return None if None in needed else function(*values)


def count_rounds(condition: Scalars, body: Scalars, start: Sequence[Any]) -> int | None:
    """Returns how often a while loop runs, None if that depends on more than its counters.

    Args:
      condition: The graph that says whether to go on: loop variables -> one truth value.
      body: The graph of a round: loop variables -> their next values.
      start: The values that the loop variables begin with; None for what is not a single known number.
    """
    values = list(start)
    for done in range(MOST_ROUNDS):
        more = evaluate(condition, condition.outputs[0], dict(zip(condition.inputs, values, strict=True)))
        if more is None:
            return None
        if not more:
            return done
        known = dict(zip(body.inputs, values, strict=True))
        values = [evaluate(body, output, known) for output in body.outputs]
    return None
