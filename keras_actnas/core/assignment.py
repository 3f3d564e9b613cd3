"""Assignments: which activation every site gets."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from keras_actnas.core.activations import canonical_name
from keras_actnas.core.errors import InputError, closest
from keras_actnas.core.files import write_atomically


class Assignment(Mapping[str, str]):
    """An immutable mapping from site to activation name, in the order of the sites.

    >>> reference = Assignment.uniform(["stem", "head"], "swish")
    >>> mixed = reference.with_swaps({"stem": "relu"})
    >>> mixed["stem"], mixed["head"], mixed.swaps(reference)
    ('relu', 'silu', {'stem': 'relu'})
    """

    __slots__ = ("_activations", "_digest")

    def __init__(self, activations: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = activations.items() if isinstance(activations, Mapping) else activations
        self._activations = {str(site): canonical_name(name) for site, name in pairs}
        self._digest: str | None = None

    @classmethod
    def uniform(cls, sites: Iterable[str], activation: str) -> Assignment:
        """Returns the assignment that gives every site the same activation."""
        return cls((site, activation) for site in sites)

    def __getitem__(self, site: str) -> str:
        return self._activations[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self._activations)

    def __len__(self) -> int:
        return len(self._activations)

    def __hash__(self) -> int:
        return hash(frozenset(self._activations.items()))

    def __repr__(self) -> str:
        return f"Assignment({len(self)} sites: {self.summary()})"

    @property
    def digest(self) -> str:
        """A short identifier of what is assigned, the same in every process and for every order of the sites."""
        if self._digest is None:
            text = json.dumps(sorted(self._activations.items()))
            self._digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._digest

    def counts(self) -> dict[str, int]:
        """Returns how many sites each activation has, the most frequent first."""
        names = list(self._activations.values())
        return {name: names.count(name) for name in sorted(set(names), key=lambda name: (-names.count(name), name))}

    def summary(self) -> str:
        """Returns how many sites each activation has, in words: `silu x 68, relu x 1`."""
        return ", ".join(f"{name} x {count}" for name, count in self.counts().items())

    def swaps(self, reference: Mapping[str, str]) -> dict[str, str]:
        """Returns the sites, with their activations, where this assignment differs from `reference`."""
        return {site: name for site, name in self.items() if reference.get(site) != name}

    def with_swaps(self, swaps: Mapping[str, str]) -> Assignment:
        """Returns this assignment with some sites changed.

        Raises:
          InputError: `swaps` names a site that this assignment does not have.
        """
        self.check_sites(swaps)
        return Assignment({**self._activations, **swaps})

    def at(self, sites: Iterable[str]) -> Assignment:
        """Returns the assignment at some of its sites only, in its own order."""
        wanted = set(sites)
        return Assignment((site, name) for site, name in self.items() if site in wanted)

    def check_sites(self, sites: Iterable[str]) -> None:
        """Raises `InputError` when `sites` holds a name that is not a site of this assignment."""
        unknown = [site for site in sites if site not in self._activations]
        if unknown:
            more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            raise InputError(
                f"Expected sites of this model, which has {len(self)}. Received: {unknown[0]!r}{more}; "
                f"is the assignment for another model?{closest(unknown[0], self)}"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the assignment as a JSON object.

        Raises:
          InputError: The file cannot be written.
        """
        write_atomically(path, json.dumps(self._activations, indent=2) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Assignment:
        """Reads an assignment from a JSON object of site: activation.

        Raises:
          InputError: The file cannot be read or holds something else.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"Expected a JSON file of site: activation. Received: {path} ({error}).") from error
        if not isinstance(content, dict):
            raise InputError(
                f"Expected a JSON object of site: activation in {path}. Received: {type(content).__name__}."
            )
        return cls(content)
