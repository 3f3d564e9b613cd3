"""The search phase of RAN-e: the loss that pulls alpha of every AFRB towards 1, and alpha in the logs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_actnas import core
from keras_actnas.callbacks.schedule import ScheduleCallback
from keras_actnas.core.ramps import Ramp
from keras_actnas.layers.afrb import AFRB, afrb_layers, check_linearity


class AFRBScheduler(ScheduleCallback):
    """Sets the weight lambda of the loss `lambda * ||alpha - 1||^2` of every AFRB of a model during `fit`.

    From Bhardwaj et al., "Restructurable Activation Networks" (2022), section 2.4, equation (3); for ImageNet the paper
    finds lambda = 1e-3 among 6e-4 to 2e-3. Lambda is 0 up to `start`, rises to `strength` at `end`, and stays there; by
    default it is `strength` from the first step on. Each epoch's logs get `linearity`, which is lambda at its end, and
    `alpha_<name>` of each AFRB. Positions are counted as by `PEAScheduler`.

    Alpha is a weight like others: exclude it from an optimizer's weight decay, which pulls it towards 0, with
    `optimizer.exclude_from_weight_decay(var_names=["alpha"])` before training.

    Args:
      strength: Lambda at the end of the rise.
      start: Where the rise begins, in units of `unit`, counted from 0.
      end: Where it ends.
      unit: `"epoch"` (fractions allowed) or `"step"`, which counts batches.
      schedule: `"linear"`, `"cosine"`, `"polynomial"`, or a function of the progress (from 0 to 1) that returns the
        share of `strength`.
      power: Exponent of the polynomial schedule.

    Raises:
      ValueError: On arguments that are not of their kind, an end before the start, a model without AFRBs, or a run
        resumed in a later epoch with `unit="step"` whose number of steps per epoch is not known.

    >>> AFRBScheduler(1e-3, start=5, end=15).values_at(10)
    {'linearity': 0.0005}
    """

    def __init__(
        self,
        strength: float = 1e-3,
        start: float = 0,
        end: float | None = None,
        unit: str = "epoch",
        schedule: str | Callable[[float], float] = "linear",
        power: float = 2.0,
    ) -> None:
        super().__init__(unit)
        self.strength = check_linearity(strength)
        self.ramp = Ramp(start, start if end is None else end, schedule, power)
        self._blocks: list[AFRB] = []

    def find(self) -> None:
        """Finds the AFRBs."""
        self._blocks = afrb_layers(self.model)
        if not self._blocks:
            raise core.InputError(
                f"Expected a model with AFRB layers. Received: {self.model.name!r}, which has none; "
                "`keras_actnas.models.RANESuperNet` is one."
            )

    def values_at(self, position: float) -> dict[str, float]:
        """Returns lambda at a position."""
        return {"linearity": self.strength * self.ramp.at(position)}

    def assign(self, values: dict[str, float]) -> None:
        """Sets lambda of every block."""
        for block in self._blocks:
            block.linearity.assign(values["linearity"])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets lambda for the next epoch; logs it and every alpha."""
        super().on_epoch_end(epoch, logs)
        if logs is not None:
            logs.update({f"alpha_{block.name}": block.alpha_value() for block in self._blocks})
