"""The carrier: a copy of a model with a marked layer at every site, by which sites are found in what is converted."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from keras_actnas.core.errors import InputError
from keras_actnas.core.sites import Site
from keras_actnas.export.activation_ops import SUPPORTED, is_editable
from keras_actnas.surgery import activation_sites, separate_activations, set_batch_size

# The layer of site number 7 is called "actnas-site-0007": a name that no other layer has and that survives in the names
# of what it is converted to.
_MARKER = "actnas-site-{:04d}"
_MARKED = re.compile(r"actnas-site-(\d{4,})(?:_\d+)?")


@dataclasses.dataclass(frozen=True)
class Carrier:
    """A model made ready for conversion to a file that knows its sites.

    Attributes:
      model: The Keras model, with a batch of 1 and a marked layer at every site.
      sites: The sites that are marked, with the activations and shapes that the original has.
      notes: What there is to tell of other activations, which stay as they are.
    """

    model: Any
    sites: tuple[Site, ...]
    notes: tuple[str, ...] = ()

    def site_at(self, name: str) -> Site | None:
        """Returns the site whose mark is in the name of a node or tensor, or None."""
        marked = _MARKED.search(name)
        return None if marked is None else self.sites[int(marked[1])]

    def marks_in(self, name: str) -> dict[str, Site]:
        """Returns the marks in the name of a node or tensor, each with its site; one more for each call of a layer."""
        return {marked[0]: self.sites[int(marked[1])] for marked in _MARKED.finditer(name)}

    def check_all_found(self, found: Sequence[str]) -> None:
        """Raises `InputError` when a site is not among those found in the converted graph."""
        lost = [site.name for site in self.sites if site.name not in found]
        if lost:
            raise InputError(
                f"Expected every site in the converted graph. Received: a graph without {lost[0]!r} "
                f"({len(lost)} of {len(self.sites)} missing): two sites may read the same tensor, or its output is "
                "unused."
            )


def make_carrier(model: Any) -> Carrier:
    """Returns the carrier of a Keras model.

    Raises:
      InputError: The model has no activation to swap, or shapes that are not known.
    """
    found = activation_sites(model)
    sites = tuple(site for site in found if is_editable(site.activation))
    kept = [site for site in found if site not in sites]
    if not sites:
        raise InputError(
            f"Expected a model with activations to swap, which are {', '.join(SUPPORTED)}. Received: {model.name!r}, "
            f"which has {_counts(kept) or 'none'}."
        )
    marker_of = {site.name: _MARKER.format(number) for number, site in enumerate(sites)}
    separate = separate_activations(
        set_batch_size(model, 1), name_of=marker_of.__getitem__, activation="silu", sites=list(marker_of)
    )
    notes: tuple[str, ...] = ()
    if kept:
        names = ", ".join(site.name for site in kept[:3]) + (", ..." if len(kept) > 3 else "")
        notes = (f"not a site in this file, since graph editing cannot write it: {_counts(kept)} ({names})",)
    return Carrier(separate, sites, notes)


def mark_sites(model: Any) -> Carrier:
    """Returns the carrier of a Keras model whose sites keep their activations, whatever these are.

    Raises:
      InputError: The model has no site, or shapes that are not known.
    """
    sites = tuple(activation_sites(model))
    if not sites:
        raise InputError(f"Expected a model with activations. Received: {model.name!r}, which has none that is a site.")
    marker_of = {site.name: _MARKER.format(number) for number, site in enumerate(sites)}
    return Carrier(separate_activations(set_batch_size(model, 1), name_of=marker_of.__getitem__), sites)


def _counts(sites: Sequence[Site]) -> str:
    counts = collections.Counter(site.activation for site in sites)
    return ", ".join(f"{activation} {count}" for activation, count in counts.items())
