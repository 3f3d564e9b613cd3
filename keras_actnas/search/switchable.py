"""A network that takes on any assignment without being built or traced again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_actnas.core.activations import canonical_name
from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.layers import activation_function
from keras_actnas.surgery import activation_sites, separate_activations, set_batch_size
from keras_actnas.surgery.copying import Rewrite, copy_model
from keras_actnas.surgery.recreate import recreate


class SwitchableActivation(keras.layers.Layer):
    """Applies one of several activations, the one that an integer variable says.

    Args:
      activations: Names to choose from.
      index: Position of the one to start with.
    """

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
        return keras.ops.switch(self.choice, self._functions, inputs)

    def compute_output_spec(self, inputs: Any) -> Any:
        """Returns the specification of the output: that of the input."""
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "activations": self.activations, "index": self.index}


class SwitchableNetwork:
    """A copy of a model, in float32 and with a fixed batch, whose sites switch between activations.

    Attributes:
      model: The switchable Keras model, with the weights of the original.
      reference: The original's assignment.
      switches: Site -> its switch.
    """

    def __init__(self, model: keras.Model, activations: Sequence[str], batch_size: int) -> None:
        sites = activation_sites(model)
        if not sites:
            raise InputError(f"Expected a model with activations to swap. Received: {model.name!r}, which has none.")
        self.reference = Assignment((site.name, site.activation) for site in sites)
        names = tuple(dict.fromkeys([*map(canonical_name, activations), *self.reference.values()]))
        layer_of = {site.name: f"switch-{number}" for number, site in enumerate(sites)}
        site_of = {layer: site for site, layer in layer_of.items()}
        separated = separate_activations(set_batch_size(model, batch_size), name_of=layer_of.__getitem__)
        self.switches: dict[str, SwitchableActivation] = {}

        def instead(layer: Any) -> Any:
            if isinstance(layer, keras.layers.BatchNormalization):
                # With a momentum of 1 no pass over data, whatever its mode, moves the statistics.
                return recreate(layer, lambda config: {**config, "momentum": 1.0})
            if layer.name not in site_of:
                return None
            site = site_of[layer.name]
            self.switches[site] = SwitchableActivation(names, names.index(self.reference[site]), name=layer.name)
            return self.switches[site]

        self.model = copy_model(separated, Rewrite(instead=instead))

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
