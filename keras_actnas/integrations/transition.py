"""The progressive move from one activation to another, while a torch network is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_actnas.integrations.torch_activations import torch_activation
from keras_actnas.integrations.torch_import import nn, torch


class Blend:
    """A forward hook that mixes an earlier activation into the output of the one at a site.

    Args:
      before: The activation at alpha = 0.
      alpha: Scalar tensor, the share of the activation at the site. Changed in place by `Transition`.
    """

    def __init__(self, before: nn.Module, alpha: torch.Tensor) -> None:
        self.before = before
        self.alpha = alpha

    def __call__(self, module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        """Returns `alpha * new(x) + (1 - alpha) * before(x)`, in the dtype of the output."""
        return self.alpha * output + (1 - self.alpha) * self.before(inputs[0])


class Transition:
    """Lets sites of a network move from earlier activations to those that stand there.

    From Utasi, "PEA" (2023), section 3.1, equation (1), with any pair of activations in place of the paper's smooth one
    and ReLU: `f(x) = alpha * new(x) + (1 - alpha) * before(x)`. The sites hold the new activations all the time; the
    earlier ones are mixed in by forward hooks, which are gone when alpha is 1. So the network's structure and the names
    of its weights do not change, and a copy without the hooks (`without`) is the network as it will be deployed.

    Args:
      network: The network, with the new activations. On its device already.
      before: Site -> activation at alpha = 0.
      alpha: Share of the new activation to start with, from 0 to 1.

    Attributes:
      alpha: The present share.

    Example:
      >>> network = nn.Sequential(nn.ReLU())
      >>> transition = Transition(network, {"0": "identity"}, alpha=0.5)
      >>> network(torch.tensor([-2.0, 2.0])).tolist()
      [-1.0, 2.0]
      >>> transition.alpha = 1.0
      >>> network(torch.tensor([-2.0, 2.0])).tolist()
      [0.0, 2.0]
    """

    def __init__(self, network: nn.Module, before: Mapping[str, str], alpha: float = 0.0) -> None:
        own = next(network.parameters(), torch.zeros(()))
        # One tensor for all sites, not a number: compiled networks need not be compiled again when it changes. A scalar
        # tensor leaves half-precision activations of AMP as they are.
        self._alpha = torch.zeros((), device=own.device)
        self._handles: list[Any] = []
        self._value = 1.0
        for site, name in before.items():
            module = network.get_submodule(site)
            if hasattr(module, "inplace"):
                module.inplace = False  # Or the earlier activation would be given the new one's output.
            self._handles.append(module.register_forward_hook(Blend(torch_activation(name), self._alpha)))
        self.alpha = alpha

    @property
    def alpha(self) -> float:
        """The share of the new activations, from 0 to 1. Can be set; at 1 the transition is over for good."""
        return self._value

    @alpha.setter
    def alpha(self, value: float) -> None:
        if not self._handles:
            return
        self._value = value  # Beside the tensor, which a GPU would have to be waited for.
        self._alpha.fill_(value)
        if value >= 1:
            for handle in self._handles:
                handle.remove()
            self._handles.clear()


def without(network: nn.Module) -> nn.Module:
    """Removes every `Blend` from a network, such as a copy of one in transition, in place, and returns it."""
    for module in network.modules():
        for key, hook in list(module._forward_hooks.items()):
            if isinstance(hook, Blend):
                del module._forward_hooks[key]
    return network
