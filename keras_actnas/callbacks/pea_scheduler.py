"""The schedule of PEA: alpha of every ensemble layer, set while `fit` runs."""

from __future__ import annotations

import dataclasses
import fnmatch
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from keras_actnas import core
from keras_actnas.callbacks.schedule import ScheduleCallback
from keras_actnas.core.ramps import Ramp
from keras_actnas.layers.pea import ProgressiveEnsemble, pea_layers


class PEAScheduler(ScheduleCallback):
    """Raises alpha of every `WeightedPEA` and `StochasticPEA` layer of a model from 0 to 1 during `fit`.

    From Utasi, "PEA" (2023), section 3: alpha is 0 in the initial phase, up to `start`; rises in the transition phase,
    by equation (2) linearly in the number of training steps; and is 1 in the final phase, from `end` on, in which a
    ReLU network is trained. The paper trains 120 epochs with `PEAScheduler(5, 115)` and `PEAScheduler(5, 90)`.

    Positions are counted from the beginning of the training run as `fit` numbers its epochs, so a run that is resumed
    with `initial_epoch` or `keras.callbacks.BackupAndRestore` goes on at the right alpha, which is also saved with the
    model; a second `fit` without `initial_epoch` begins again at 0. A step is a batch, whatever the gradient
    accumulation. Alpha is set before each step; with `steps_per_execution`, before each execution, at the value of its
    first step. Each epoch's logs get `alpha`, the value at its end. Where layers have schedules of their own, the logs
    get `alpha_<pattern>` for each of these, too. `EarlyStopping(restore_best_weights=True)` restores alpha as well: put
    this callback behind it in the list, so that the warning below speaks of what was restored.

    Args:
      start: Where the transition begins, in units of `unit`, counted from 0: `5` means after five epochs.
      end: Where it ends and alpha is 1.
      unit: `"epoch"` (fractions allowed) or `"step"`, which counts batches.
      schedule: `"linear"`, `"cosine"`, `"polynomial"`, or a function of the progress (from 0 to 1) that returns alpha.
      power: Exponent of the polynomial schedule.
      per_layer: Pattern of layer names (`"stage4_*"`, as in `fnmatch`) -> what is different for these layers, a
        mapping with any of the keys `start`, `end`, `schedule`, `power`. The first pattern that fits counts.

    Raises:
      ValueError: On arguments that are not of their kind, an end before the start, a model without PEA layers, a
        pattern that no PEA layer's name fits, a schedule function that leaves [0, 1], or a run resumed in a later epoch
        with `unit="step"` whose number of steps per epoch is not known.

    Warns:
      UserWarning: When training ends before alpha of every layer is 1.

    >>> scheduler = PEAScheduler(start=5, end=115)
    >>> scheduler.ramp.at(60)
    0.5
    """

    def __init__(
        self,
        start: float,
        end: float,
        unit: str = "epoch",
        schedule: str | Callable[[float], float] = "linear",
        power: float = 2.0,
        per_layer: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(unit)
        self.ramp = Ramp(start, end, schedule, power)
        self.per_layer = _per_layer(self.ramp, per_layer or {})
        self._groups: list[tuple[str, Ramp, list[ProgressiveEnsemble]]] = []

    def find(self) -> None:
        """Finds the layers."""
        self._groups = self._grouped(pea_layers(self.model))

    def values_at(self, position: float) -> dict[str, float]:
        """Returns alpha of each group of layers at a position."""
        return {name: ramp.at(position) for name, ramp, _ in self._groups}

    def assign(self, values: dict[str, float]) -> None:
        """Sets alpha of every layer."""
        for name, _, layers in self._groups:
            for layer in layers:
                layer.alpha = values[name]

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Warns unless every alpha is 1."""
        alphas = [layer.alpha_value() for _, _, layers in self._groups for layer in layers]
        left = [alpha for alpha in alphas if alpha < 1]
        if left:
            lowest = min(left)
            warnings.warn(
                f"Training ended before alpha reached 1: {len(left)} PEA layers are not pure ReLU yet (lowest alpha "
                f"{lowest:.3f}). Train on to {self.unit} {self._last():g}, or set an earlier `end` of PEAScheduler.",
                stacklevel=2,
            )

    def _grouped(self, layers: list[ProgressiveEnsemble]) -> list[tuple[str, Ramp, list[ProgressiveEnsemble]]]:
        if not layers:
            raise core.InputError(
                f"Expected a model with WeightedPEA or StochasticPEA layers. Received: {self.model.name!r}, which has "
                "none; `keras_actnas.surgery.to_pea` turns the ReLUs of a model into them."
            )
        groups: dict[str, list[ProgressiveEnsemble]] = {pattern: [] for pattern in ["", *self.per_layer]}
        for layer in layers:
            fits = (pattern for pattern in self.per_layer if fnmatch.fnmatchcase(layer.name, pattern))
            groups[next(fits, "")].append(layer)
        for pattern, found in groups.items():
            if pattern and not found:
                names = ", ".join(layer.name for layer in layers[:8])
                raise core.InputError(
                    "Expected patterns in per_layer of which each fits a PEA layer that no earlier one fits. "
                    f"Received: {pattern!r}; the layers are {names}{', ...' * (len(layers) > 8)}."
                )
        return [
            (f"alpha_{pattern}" if pattern else "alpha", self.per_layer.get(pattern, self.ramp), found)
            for pattern, found in groups.items()
            if found
        ]

    def _last(self) -> float:
        return max(ramp.end for _, ramp, _ in self._groups)


def _per_layer(ramp: Ramp, per_layer: Mapping[str, Mapping[str, Any]]) -> dict[str, Ramp]:
    """Returns the ramp of each pattern."""
    if not isinstance(per_layer, Mapping):
        raise core.InputError(f"Expected per_layer to be a mapping from patterns. Received: {per_layer!r}.")
    known = [field.name for field in dataclasses.fields(Ramp)]
    ramps = {}
    for pattern, own in per_layer.items():
        if not isinstance(own, Mapping) or not set(own) <= set(known):
            raise core.InputError(
                f"Expected per_layer[{pattern!r}] to be a mapping with keys among {', '.join(known)}. "
                f"Received: {own!r}."
            )
        try:
            ramps[pattern] = dataclasses.replace(ramp, **own)
        except core.InputError as error:
            raise core.InputError(f"per_layer[{pattern!r}]: {error}") from error
    return ramps
