"""What schedules have in common: values that depend on the position in a training run, set while `fit` runs."""

from __future__ import annotations

from typing import Any

import keras

from keras_actnas import core

UNITS = ("epoch", "step")


class ScheduleCallback(keras.callbacks.Callback):
    """Base of callbacks that set values, before every step, to what they are at that position of the training run.

    Positions are counted from the beginning of the training run as `fit` numbers its epochs; a step is a batch.

    Args:
      unit: `"epoch"` (fractions between) or `"step"`.
    """

    def __init__(self, unit: str = "epoch") -> None:
        super().__init__()
        if unit not in UNITS:
            raise core.InputError(f"Expected unit 'epoch' or 'step'. Received: {unit!r}.")
        self.unit = unit
        self._values: dict[str, float] = {}
        self._epoch = self._done = 0
        self._before: int | None = None
        self._steps: int | None = None

    def find(self) -> None:
        """Finds in `self.model` what is to be set, when training begins."""
        raise NotImplementedError

    def values_at(self, position: float) -> dict[str, float]:
        """Returns the values at a position, by the names under which they are logged."""
        raise NotImplementedError

    def assign(self, values: dict[str, float]) -> None:
        """Sets the values."""
        raise NotImplementedError

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds what is to be set."""
        self.find()
        self._steps = (self.params or {}).get("steps")
        self._before = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the values for the first step of an epoch."""
        self._epoch = epoch
        if self._before is None:
            self._before = self._steps_before(epoch)
        self._set(0, always=True)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the values for the step after this one."""
        self._set(batch + 1)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the values for the next epoch, so that what is saved now goes on there, and logs them."""
        self._epoch, self._steps = epoch + 1, self._steps or self._done
        self._before = (self._before or 0) + self._done
        self._set(0, always=True)
        if logs is not None:
            logs.update(self._values)

    def _set(self, batch: int, always: bool = False) -> None:
        """Sets the values after `batch` batches of the current epoch; unless `always`, if they change."""
        self._done = min(batch, self._steps or batch)  # The last of several steps per execution may not be there.
        values = self.values_at(self._position(self._done))
        if values == self._values and not always:
            return
        self._values = values
        if hasattr(self.model, "jax_state_sync"):
            # The JAX trainer keeps the weights itself during an epoch, and would overwrite what is set here.
            self.model.jax_state_sync()
        self.assign(values)

    def _position(self, batch: int) -> float:
        if self.unit == "epoch":
            return self._epoch + (batch / self._steps if self._steps else 0.0)
        return (self._before or 0) + batch

    def _steps_before(self, epoch: int) -> int:
        """Returns how many steps were done before the first epoch of this `fit`."""
        if epoch and not self._steps and self.unit == "step":
            raise core.InputError(
                f"Expected a known number of steps per epoch to place epoch {epoch} on a schedule with unit='step'. "
                "Received: data of unknown length; pass `steps_per_epoch` to `fit`, or use unit='epoch'."
            )
        return epoch * (self._steps or 0)
