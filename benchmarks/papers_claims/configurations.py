"""What is trained: ReLU, other activations, PEA in all its variants, the ACON family; each from one ReLU network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
from names import ENDS, KINDS, PROGRESSIVE, pea_name

from keras_actnas.callbacks import PEAScheduler
from keras_actnas.core import Assignment
from keras_actnas.layers import ACONA, ACONB, ACONC, MetaACON
from keras_actnas.layers.meta_acon import GRANULARITIES
from keras_actnas.surgery import current_assignment, fold_acon, replace_activations, strip_pea, to_acon, to_pea

PAPER_EPOCHS = 120
START = 5
"""Epoch of the PEA paper's 120 at which the transition to ReLU begins (section 4.1)."""


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One way to train the network.

    Attributes:
      name: What its results are called.
      build: Makes the network that is trained from the one with ReLUs; it gets a seed, too.
      deploy: Makes the network that is deployed from the trained one.
      end: The epoch of the paper's 120 at which alpha is 1; None without PEA.
    """

    name: str
    build: Callable[[keras.Model, int], keras.Model]
    deploy: Callable[[keras.Model], keras.Model] = lambda model: model
    end: int | None = None

    def callbacks(self, epochs: int) -> list[keras.callbacks.Callback]:
        """Returns what `fit` needs, with the paper's phases in proportion to the number of epochs."""
        if self.end is None:
            return []
        return [PEAScheduler(START / PAPER_EPOCHS * epochs, self.end / PAPER_EPOCHS * epochs)]


def configurations() -> dict[str, Configuration]:
    """Returns name -> configuration: all 24 of the papers, and ACON-C with other start values."""
    every = [_uniform(name) for name in ("relu", *PROGRESSIVE, "elu", "softplus")]
    every += [_pea(kind, name, end) for kind in KINDS for name in PROGRESSIVE for end in ENDS]
    every += [_acon(name, variant) for name, variant in (("acon_a", ACONA), ("acon_b", ACONB), ("acon_c", ACONC))]
    every.append(_acon("acon_c_as_swish", ACONC, p1_initializer="ones", p2_initializer="zeros"))
    every += [_meta_acon(granularity) for granularity in GRANULARITIES]
    return {configuration.name: configuration for configuration in every}


def _uniform(activation: str) -> Configuration:
    def build(model: keras.Model, seed: int) -> keras.Model:
        return replace_activations(model, Assignment.uniform(current_assignment(model), activation))

    return Configuration(activation, build)


def _pea(kind: str, activation: str, end: int) -> Configuration:
    def build(model: keras.Model, seed: int) -> keras.Model:
        return to_pea(model, activation, stochastic=kind == "stochastic", seed=1000 * seed)

    return Configuration(pea_name(kind, activation, end), build, strip_pea, end)


def _acon(name: str, variant: type[keras.Layer], **arguments: str) -> Configuration:
    return Configuration(name, lambda model, seed: to_acon(model, variant, **arguments), fold_acon)


def _meta_acon(granularity: str) -> Configuration:
    def build(model: keras.Model, seed: int) -> keras.Model:
        return to_acon(model, MetaACON, granularity=granularity)

    return Configuration(f"meta_acon_{granularity}", build)
