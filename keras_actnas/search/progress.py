"""How a long stage shows how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from keras_actnas.core.assignment import Assignment

Progress = Callable[[Iterable[Assignment], str], Iterable[Assignment]]
"""Wraps what is worked through, with a label: `tqdm`-like."""
