"""Activations by name in torch: the functions that Keras's are, fresh, and known by name again."""

import doctest

import keras
import numpy as np
import pytest
import torch
from torch import nn

from keras_actnas.core.activations import KNOWN
from keras_actnas.core.curves import curve
from keras_actnas.core.errors import InputError
from keras_actnas.integrations import torch_activation, torch_activation_name, torch_activations
from keras_actnas.layers.named import activation_layer

NAMES = [*KNOWN, "leaky_relu(0.3)"]
GRID = np.concatenate([np.linspace(-40, 40, 1601), np.linspace(-4, 4, 801)])


def test_examples():
    assert doctest.testmod(torch_activations).failed == 0


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_keras(name):
    x = GRID.astype("float32").reshape(1, 1, 1, -1)
    theirs = keras.ops.convert_to_numpy(activation_layer(name)(np.moveaxis(x, 1, -1)))
    ours = torch_activation(name)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(np.moveaxis(ours, 1, -1), theirs, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "prelu"])
def test_values_are_what_the_name_means(name):
    ours = torch_activation(name)(torch.from_numpy(GRID)).numpy()
    np.testing.assert_allclose(ours, curve(name)(GRID), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_names_come_back(name):
    module = torch_activation(name)
    assert torch_activation_name(module) == name
    assert not getattr(module, "inplace", False)
    assert torch_activation(name) is not torch_activation(name)
    assert type(module).__module__.startswith("torch.nn.modules")  # Loads where this package is not installed.


def test_aliases_and_channels():
    assert torch_activation_name(torch_activation("Swish")) == "silu"
    assert torch_activation("prelu", 8).weight.tolist() == [0.25] * 8


@pytest.mark.parametrize("module", [nn.GELU("tanh"), nn.ELU(0.5), nn.Softplus(2), nn.Hardtanh(), nn.Conv2d(1, 1, 1)])
def test_other_functions_have_no_name(module):
    with pytest.raises(InputError, match="Expected an activation with a name here. Received: the torch module"):
        torch_activation_name(module)


def test_unknown_name():
    with pytest.raises(InputError, match="Did you mean 'relu"):
        torch_activation("reluu")
