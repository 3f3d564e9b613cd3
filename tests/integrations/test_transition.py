"""The progressive move between activations in torch."""

import copy
import doctest
import pickle

import pytest
import torch
from torch import nn

from keras_actnas.integrations import transition as module
from keras_actnas.integrations.torch_activations import torch_activation
from keras_actnas.integrations.transition import Transition, without

X = torch.linspace(-4, 4, 33).reshape(1, 1, 1, 33)


def network(*names):
    layers = []
    for name in names:
        torch.manual_seed(0)
        layers += [nn.Conv2d(1, 1, 3, padding=1), torch_activation(name)]
    return nn.Sequential(*layers)


BEFORE = {"1": "silu", "3": "mish"}


def test_examples():
    assert doctest.testmod(module).failed == 0


def test_begins_as_before_and_ends_as_the_network():
    old, new = network("silu", "mish"), network("relu", "hard_swish")
    plain = new(X)
    transition = Transition(new, BEFORE)
    assert torch.equal(new(X), old(X))  # To the bit: nothing is lost at the start.
    transition.alpha = 1.0
    assert torch.equal(new(X), plain)
    assert not any(layer._forward_hooks for layer in new)  # Nor does anything cost time any more.
    transition.alpha = 0.5
    assert torch.equal(new(X), plain)
    assert transition.alpha == 1


@pytest.mark.parametrize("alpha", [0.25, 0.75])
def test_equation_1_between(alpha):
    new = nn.Sequential(torch_activation("relu"))
    transition = Transition(new, {"0": "silu"}, alpha)
    assert transition.alpha == alpha
    torch.testing.assert_close(new(X), alpha * X.relu() + (1 - alpha) * nn.functional.silu(X))


def test_gradients_are_mixed_too():
    new = nn.Sequential(torch_activation("relu"))
    Transition(new, {"0": "identity"}, 0.25)
    x = torch.tensor([-1.0, 1.0], requires_grad=True)
    new(x).sum().backward()
    assert x.grad.tolist() == [0.75, 1.0]


def test_keeps_half_precision():
    new = network("relu", "relu")
    Transition(new, BEFORE, 0.5)
    with torch.autocast("cpu", torch.bfloat16):
        assert new(X).dtype == torch.bfloat16


def test_an_activation_that_works_in_place_is_kept_from_it():
    new = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    Transition(new, {"1": "silu"}, 0.0)
    assert torch.equal(new(X.clone()), nn.functional.silu(X))


def test_weights_keep_their_names():
    new = nn.Sequential(nn.Conv2d(1, 1, 1), torch_activation("prelu"))
    names = list(new.state_dict())
    Transition(new, {"1": "silu"})
    assert list(new.state_dict()) == names


def test_a_copy_without_it_is_the_network_that_will_be_deployed():
    new = network("relu", "relu6")
    plain = new(X)
    Transition(new, BEFORE, 0.5)
    blended = new(X)
    assert not torch.equal(blended, plain)
    other = pickle.loads(pickle.dumps(new))
    assert torch.equal(other(X), blended)
    assert torch.equal(without(copy.deepcopy(new))(X), plain)
    assert torch.equal(new(X), blended)  # The original goes on.
