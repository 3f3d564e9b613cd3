"""The optimizer that a network is trained with for a score."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

LEARNING_RATE, FINE_TUNING_RATE = 0.1, 0.02
SGD = {"momentum": 0.9, "weight_decay": 5e-4, "global_clipnorm": 5.0}
"""For a model that is not compiled: what is usual for convolutional networks; the clipping is for others."""


def optimizer_for(
    model: keras.Model, steps: int, learning_rate: float | None = None, fine_tuning: bool = False
) -> tuple[keras.optimizers.Optimizer, float]:
    """Returns a new optimizer like the compiled model's, or SGD with momentum, and its highest learning rate.

    Which activation does best depends on how a network is trained, so a score should train as the user does.

    Args:
      model: The model, compiled or not.
      steps: Of these many steps the highest rate is meant, where the model's optimizer has a schedule.
      learning_rate: The highest rate; None for the compiled model's own, or what is usual.
      fine_tuning: Whether weights are trained already, for which less is usual.
    """
    if not model.compiled or model.optimizer is None:
        usual = FINE_TUNING_RATE if fine_tuning else LEARNING_RATE
        rate = usual if learning_rate is None else learning_rate
        return keras.optimizers.SGD(rate, **SGD), rate
    config: dict[str, Any] = model.optimizer.get_config()
    rate = config["learning_rate"] if learning_rate is None else learning_rate
    if isinstance(rate, dict):
        schedule = keras.optimizers.schedules.deserialize(rate)
        rate = max(float(schedule(step)) for step in np.linspace(0, steps, 100))
    return type(model.optimizer).from_config({**config, "learning_rate": float(rate)}), float(rate)


def cosine_rates(rate: float, steps: int) -> np.ndarray:
    """Returns learning rates that fall from `rate` to zero along half a cosine, shape (steps,)."""
    return rate * 0.5 * (1 + np.cos(np.pi * np.arange(steps) / max(steps, 1)))
