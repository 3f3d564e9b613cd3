"""Rules: what an assignment may look like, whatever its metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from keras_actnas.core.activations import canonical_name
from keras_actnas.core.checks import is_whole
from keras_actnas.core.errors import InputError

Forbidden = str | tuple[str, str]
"""An activation that no site may have, or a site and an activation that it may not have."""


@dataclasses.dataclass(frozen=True)
class Rules:
    """Which assignments may be chosen.

    Attributes:
      pinned: Site -> the activation that it must have.
      groups: Groups of sites that must all have the same activation; groups that share a site count as one.
      max_activations: How many different activations the network may have, at most; None for any number.
      forbidden: Activations that no site may have, and (site, activation) pairs.

    Raises:
      InputError: A name is no activation, `max_activations` is no positive integer or below the number of different
        pinned activations, or a pinned activation is forbidden.

    >>> rules = Rules({"stem": "ReLU"}, groups=[("head1", "head2")], forbidden=["elu", ("head1", "relu")])
    >>> rules.pinned, rules.forbids("head1", "relu"), rules.forbids("head2", "relu")
    ({'stem': 'relu'}, True, False)
    """

    pinned: Mapping[str, str] = dataclasses.field(default_factory=dict)
    groups: Sequence[Sequence[str]] = ()
    max_activations: int | None = None
    forbidden: Sequence[Forbidden] = ()

    def __post_init__(self) -> None:
        pinned = {site: canonical_name(name) for site, name in self.pinned.items()}
        object.__setattr__(self, "pinned", pinned)
        object.__setattr__(self, "groups", tuple(tuple(group) for group in self.groups))
        object.__setattr__(self, "forbidden", tuple(map(_canonical, self.forbidden)))
        count = self.max_activations
        if count is not None and (not is_whole(count) or count < 1):
            raise InputError(f"Expected max_activations to be an integer of at least 1. Received: {count!r}.")
        names = dict.fromkeys(pinned.values())
        if count is not None and len(names) > count:
            raise InputError(
                f"Expected max_activations of at least {len(names)} with {', '.join(names)} pinned. Received: {count}."
            )
        for site, name in pinned.items():
            if self.forbids(site, name):
                raise InputError(f"Expected pinned activations that are not forbidden. Received: {name!r} at {site!r}.")

    @classmethod
    def parse(
        cls,
        pins: Iterable[str] = (),
        groups: Iterable[str] = (),
        max_activations: int | None = None,
        forbidden: Iterable[str] = (),
    ) -> Rules:
        """Returns the rules that texts say, as on the command line.

        Args:
          pins: "SITE=ACTIVATION" each.
          groups: "SITE,SITE,..." each.
          max_activations: As the attribute.
          forbidden: "ACTIVATION" or "SITE=ACTIVATION" each.

        Raises:
          InputError: A text has another form, a site is pinned twice, or the rules contradict each other.
        """
        pinned: dict[str, str] = {}
        for text in pins:
            site, _, name = text.rpartition("=")
            if not site.strip():
                raise InputError(f"Expected a pin such as 'stem=relu'. Received: {text!r}.")
            name = canonical_name(name)
            if pinned.setdefault(site.strip(), name) != name:
                raise InputError(
                    f"Expected one pinned activation at {site.strip()!r}. Received: {pinned[site.strip()]} and {name}."
                )
        sites = [tuple(site.strip() for site in text.split(",") if site.strip()) for text in groups]
        for group in sites:
            if len(group) < 2:
                raise InputError(f"Expected a group of two or more sites, 'SITE,SITE'. Received: {','.join(group)!r}.")
        pairs = [text.rpartition("=") for text in forbidden]
        return cls(pinned, sites, max_activations, [(site.strip(), name) if site else name for site, _, name in pairs])

    def forbids(self, site: str, activation: str) -> bool:
        """Whether a site may not have an activation (a canonical name)."""
        return activation in self.forbidden or (site, activation) in self.forbidden

    def named_sites(self) -> dict[str, str]:
        """Returns every site that a rule names, and in what way: "pinned", "grouped" or "forbidden"."""
        grouped = dict.fromkeys((site for group in self.groups for site in group), "grouped")
        pairs = (one[0] for one in self.forbidden if not isinstance(one, str))
        return {**dict.fromkeys(pairs, "forbidden"), **grouped, **dict.fromkeys(self.pinned, "pinned")}

    def merged_groups(self) -> list[list[str]]:
        """Returns the groups, those that share a site made one."""
        merged: list[list[str]] = []
        for group in self.groups:
            touched = [other for other in merged if set(other) & set(group)]
            merged = [other for other in merged if other not in touched]
            merged.append(list(dict.fromkeys([*(site for other in touched for site in other), *group])))
        return merged


def _canonical(forbidden: Forbidden) -> Forbidden:
    return canonical_name(forbidden) if isinstance(forbidden, str) else (forbidden[0], canonical_name(forbidden[1]))
