"""A network that takes on any assignment without being built or traced again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_actnas.core.activations import canonical_name
from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.layers import activation_function
from keras_actnas.surgery import activation_sites, separate_activations, set_batch_size
from keras_actnas.surgery.copying import Rewrite, copy_model


class SwitchableActivation(keras.layers.Layer):
    """Applies one of several activations, the one that an integer variable says.

    Args:
      activations: Names to choose from.
      index: Position of the one to start with.

    Attributes:
      listener: Is given the input of every call; None for none.
    """

    listener: Callable[[Any], None] | None = None

    def __init__(self, activations: Sequence[str], index: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activations = tuple(activations)
        self.index = index
        self._functions = [activation_function(name) for name in self.activations]
        self.choice = self.add_weight(
            name="choice", shape=(), dtype="int32", initializer=keras.initializers.Constant(index), trainable=False
        )

    def call(self, inputs: Any) -> Any:
        """Returns the chosen activation of `inputs`, which keeps their shape."""
        if self.listener is not None:
            self.listener(inputs)
        return keras.ops.switch(self.choice, self._functions, inputs)

    def compute_output_spec(self, inputs: Any) -> Any:
        """Returns the specification of the output: that of the input."""
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "activations": self.activations, "index": self.index}


class _BatchStatistics(keras.layers.BatchNormalization):
    """Normalizes by the statistics of the batch, whatever the mode and whether it is frozen."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Returns the normalized inputs."""
        return super().call(inputs, training=True, mask=mask)


def switchable_sites(model: keras.Model) -> Assignment:
    """Returns the assignment of the sites that a switch can take the place of: all but those with weights (PReLU).

    Raises:
      InputError: There is none.
    """
    sites = Assignment((site.name, site.activation) for site in activation_sites(model) if site.activation != "prelu")
    if not sites:
        raise InputError(f"Expected a model with activations to swap. Received: {model.name!r}, which has none.")
    return sites


class SwitchableNetwork:
    """A copy of a model, in float32 and with a fixed batch, whose sites switch between activations.

    Args:
      model: The model, which stays as it is.
      activations: What the sites can be switched to, besides the model's own.
      batch_size: Number of images in a batch.
      batch_statistics: Whether BatchNorm takes its statistics from the batch. All else is as in inference either way:
        a dropout of training would make the same network differ from one call to the next.

    Attributes:
      model: The switchable Keras model, with the weights of the original.
      reference: The original's assignment, of the sites that have a switch.
      switches: Site -> its switch.
    """

    def __init__(
        self, model: keras.Model, activations: Sequence[str], batch_size: int, batch_statistics: bool = False
    ) -> None:
        self.reference = switchable_sites(model)
        names = tuple(dict.fromkeys([*map(canonical_name, activations), *self.reference.values()]))
        layer_of = {site: f"switch-{number}" for number, site in enumerate(self.reference)}
        site_of = {layer: site for site, layer in layer_of.items()}
        separated = separate_activations(
            set_batch_size(model, batch_size), name_of=layer_of.__getitem__, sites=tuple(self.reference)
        )
        self.switches: dict[str, SwitchableActivation] = {}
        norms: list[tuple[Any, Any]] = []

        def instead(layer: Any) -> Any:
            if batch_statistics and isinstance(layer, keras.layers.BatchNormalization):
                # With a momentum of 1 no pass over data moves the statistics.
                norms.append((layer, _BatchStatistics.from_config({**layer.get_config(), "momentum": 1.0})))
                return norms[-1][1]
            if layer.name not in site_of:
                return None
            site = site_of[layer.name]
            self.switches[site] = SwitchableActivation(names, names.index(self.reference[site]), name=layer.name)
            return self.switches[site]

        self.model = copy_model(separated, Rewrite(instead=instead, config=_unseeded))
        for old, new in norms:
            new.trainable = True
            new.set_weights(old.get_weights())

    def initial_weights(self) -> list[np.ndarray]:
        """Returns new initial weights, drawn from Keras's global random state; what was adapted to data stays."""
        fresh = keras.models.clone_model(self.model)
        for old, new in zip(self.model._flatten_layers(), fresh._flatten_layers(), strict=True):
            if isinstance(old, keras.layers.Normalization):
                new.set_weights(old.get_weights())
        return fresh.get_weights()

    def inputs_of_sites(self, images: Any) -> list[Any]:
        """Runs the network; returns the input of every call of every switch, each of shape (batch, ...)."""
        with self.listening() as seen:
            self.model(images, training=False)
        return seen

    @contextlib.contextmanager
    def listening(self) -> Iterator[list[Any]]:
        """Collects the input of every call of every switch, each of shape (batch, ...), in the list that it yields."""
        seen: list[Any] = []
        for switch in self.switches.values():
            switch.listener = seen.append
        try:
            yield seen
        finally:
            for switch in self.switches.values():
                switch.listener = None

    def assign(self, assignment: Mapping[str, str]) -> None:
        """Switches every site; sites that are not named get the reference's activation.

        Raises:
          InputError: A site is unknown, or an activation is none of those that the network was built with.
        """
        for site, name in self.reference.with_swaps(assignment).items():
            switch = self.switches[site]
            if name not in switch.activations:
                raise InputError(f"Expected one of {', '.join(switch.activations)} at {site!r}. Received: {name!r}.")
            switch.choice.assign(switch.activations.index(name))


def _unseeded(config: Any) -> Any:
    """Returns a layer's configuration without the seeds of its initializers, which would make every start the same."""
    if not isinstance(config, dict):
        return config
    changed = {key: _unseeded(value) for key, value in config.items()}
    if str(config.get("module", "")).startswith("keras.initializers") and "seed" in config.get("config", {}):
        changed["config"] = {**changed["config"], "seed": None}
    return changed
