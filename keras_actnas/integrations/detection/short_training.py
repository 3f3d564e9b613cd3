"""A short training of a detector in torch, and its loss on held-out images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np

from keras_actnas.core.errors import InputError, MissingDependencyError
from keras_actnas.integrations.detection.batches import Batch
from keras_actnas.integrations.torch_import import nn, torch
from keras_actnas.search.optimizers import cosine_rates

try:
    from ultralytics.cfg import get_cfg
    from ultralytics.utils.loss import v8DetectionLoss
except ImportError as error:
    raise MissingDependencyError(error.name or "ultralytics", "ultralytics", "Training a YOLO") from error

WEIGHT_DECAY = 5e-4
"""Of kernels, and not of BatchNorm and biases, as in Ultralytics."""
CLIPPING = 10.0
"""Highest norm of the gradients, as in Ultralytics."""
WARMUP = 0.05
"""Share of the steps in which the learning rate rises: a network with other activations begins with a high loss."""
SETTLING = 16
"""Batches that the statistics of BatchNorm are taken of after a training."""


def usual_rate(num_classes: int) -> float:
    """Returns the learning rate of Ultralytics' `optimizer=auto` for AdamW (`BaseTrainer.build_optimizer`).

    >>> usual_rate(80)
    0.000119
    """
    return round(0.002 * 5 / (4 + num_classes), 6)


def learning_rates(rate: float, steps: int) -> np.ndarray:
    """Returns the learning rate of each step: it rises to `rate`, and falls along half a cosine; shape (steps,)."""
    rising = max(1, round(WARMUP * steps))
    return cosine_rates(rate, steps) * np.minimum(1, (np.arange(steps) + 1) / rising)


def train(network: nn.Module, batches: Iterator[Batch], steps: int, rate: float) -> list[float]:
    """Trains a network in place, by AdamW and Ultralytics' loss; returns the losses of the steps.

    Args:
      network: An Ultralytics `DetectionModel`.
      batches: At least as many as steps.
      steps: How many steps.
      rate: The highest learning rate.

    Raises:
      InputError: A loss is not finite.
    """
    kernels = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, rate, fused=True)
    measure = _loss_of(network.train())
    losses: list[float] = []
    for now, batch in zip(learning_rates(rate, steps).tolist(), batches, strict=False):
        for group in optimizer.param_groups:
            group["lr"] = now
        batch = _moved(batch, network)
        loss = measure(network(batch["img"]), batch)[0].sum() / len(batch["img"])
        losses.append(_finite(loss.item(), f"in step {len(losses) + 1}"))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIPPING)
        optimizer.step()
    return losses


def settle(network: nn.Module, batches: Iterator[Batch]) -> None:
    """Takes the statistics of BatchNorm anew from `SETTLING` batches, with the weights that there are.

    "Precise BatchNorm" (Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3).
    """
    images = (_moved(batch, network)["img"] for batch in itertools.islice(batches, SETTLING))
    torch.optim.swa_utils.update_bn(images, network)


def held_out_loss(network: nn.Module, batches: Iterable[Batch]) -> float:
    """Returns the mean loss of an image, weighed as Ultralytics weighs box, class and DFL loss, in eval mode.

    Raises:
      InputError: It is not finite.
    """
    measure, total, images = _loss_of(network.eval()), 0.0, 0
    with torch.inference_mode():
        for batch in batches:
            batch = _moved(batch, network)
            total += measure(network(batch["img"]), batch)[0].sum().item()
            images += len(batch["img"])
    return _finite(total / images, "on held-out images")


def _loss_of(network: nn.Module) -> v8DetectionLoss:
    network.args = get_cfg()  # Ultralytics' own weights of the parts, whatever the checkpoint was trained with.
    return v8DetectionLoss(network)


def _moved(batch: Batch, network: nn.Module) -> Batch:
    device = next(network.parameters()).device
    return {name: value.to(device) for name, value in batch.items()}


def _finite(loss: float, where: str) -> float:
    if not math.isfinite(loss):
        raise InputError(
            f"Expected a training that converges. Received: a loss of {loss} {where}; check the checkpoint's weights, "
            "or give a lower --learning_rate."
        )
    return loss
