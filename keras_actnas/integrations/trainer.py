"""Training of Ultralytics networks that keeps an assignment."""

from __future__ import annotations

import warnings
from typing import Any

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError, MissingDependencyError
from keras_actnas.integrations.torch_import import nn
from keras_actnas.integrations.torch_sites import RECORD, apply_assignment, current_torch_assignment
from keras_actnas.integrations.training_plan import TrainingPlan
from keras_actnas.integrations.transition import Transition, without

try:
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.nn.tasks import load_checkpoint
    from ultralytics.utils import DEFAULT_CFG, RANK
    from ultralytics.utils.torch_utils import unwrap_model
except ImportError as error:
    raise MissingDependencyError(error.name or "ultralytics", "ultralytics", "Training a YOLO") from error


class ActNASTrainer(DetectionTrainer):
    """A `DetectionTrainer` of Ultralytics whose network has, and keeps, the activations of an assignment.

    `YOLO.train` builds the network again from its YAML, where there is one activation for all sites. This trainer puts
    the assignment into what it builds: for training, the moving average (EMA), checkpoints, resuming and validation.
    After training it loads both checkpoints and makes sure that they hold it.

    With a `transition`, sites whose activation changes start as they are in the weights (or, from scratch, in the YAML)
    and move to the new ones gradually, as in Utasi, "PEA" (2023), section 3, equations (1) and (2), so that training
    starts from what the weights can do. Without one they have the new activations at once, which is the recipe of
    Sah et al., "ActNAS" (2024), section 3.4, from scratch and with hyper-parameters unchanged.

    Only the network in training is ever mixed. The moving average, which is what Ultralytics validates and saves, has
    the new activations all the time: every fitness is that of the network that will be deployed, and `best.pt` and
    `last.pt` hold modules of torch and Ultralytics alone, so they load where this package is not installed. What
    resuming needs, the assignment and alpha, is a plain dictionary, the attribute `actnas` of the network in them.

    Ultralytics loads checkpoints by pickle, which runs code that a file brings along: give it files you trust only.

    Args:
      cfg: As for `DetectionTrainer`.
      overrides: As for `DetectionTrainer`, and `assignment` (site -> activation, or the path of its JSON file) and
        `transition` (its start and end, as shares of the training run from 0 to 1; None for none). Not needed to
        resume.
      _callbacks: As for `DetectionTrainer`.

    Raises:
      InputError: No assignment where none is resumed, one of another network, or a transition that is none.
      RuntimeError: After training, when a checkpoint does not hold the assignment.

    Warns:
      UserWarning: When training ends before the transition.

    Example:
      >>> from ultralytics import YOLO
      >>> yolo = YOLO("best.pt")  # doctest: +SKIP
      >>> yolo.train(
      ...     trainer=ActNASTrainer, assignment="runs/yolov5n-320/best.json", transition=(0, 0.75), data="data.yaml"
      ... )  # doctest: +SKIP
      >>> YOLO("runs/detect/train/weights/last.pt").train(trainer=ActNASTrainer, resume=True)  # doctest: +SKIP
    """

    def __init__(
        self, cfg: Any = DEFAULT_CFG, overrides: dict[str, Any] | None = None, _callbacks: dict | None = None
    ) -> None:
        overrides = dict(overrides or {})
        self._requested, self._transition = overrides.pop("assignment", None), overrides.pop("transition", None)
        self.plan: TrainingPlan | None = None
        self.transition: Transition | None = None
        self._batch = 0
        if isinstance(self._requested, str):
            self._requested = Assignment.load(self._requested)
        if self._requested is None and not overrides.get("resume"):
            raise InputError(
                "Expected an assignment, `train(trainer=ActNASTrainer, assignment=...)`, site -> activation or a JSON "
                "file. Received: none."
            )
        super().__init__(cfg, overrides, _callbacks)
        if self.args.distill_model or self.args.quantize == 8:
            raise InputError("Expected neither distill_model nor quantize=8, which ActNASTrainer does not support.")

    def get_model(self, cfg: Any = None, weights: nn.Module | None = None, verbose: bool = True) -> nn.Module:
        """Returns the network of a YAML with the assignment's activations and, as far as they fit, some weights.

        Args:
          cfg: The YAML, or what it says.
          weights: A network to take the weights from, and the activations that a transition starts with.
          verbose: Whether to show the network.
        """
        model = super().get_model(cfg, None, verbose)
        plan, alpha = self._make_plan(current_torch_assignment(weights if weights else model), weights)
        apply_assignment(model, plan.assignment)
        if weights:
            model.load(weights)
            # Ultralytics may have taken over parts of the other network as they are. A PReLU's slopes are weights.
            held = current_torch_assignment(model)
            plain = {site: name for site, name in plan.assignment.items() if {name, held[site]} != {"prelu"}}
            apply_assignment(model, plain)
        setattr(model, RECORD, plan.record(alpha))
        return model

    def train(self) -> None:
        """Trains; for several GPUs, in processes that get the assignment among their arguments."""
        if self.ddp:
            self.args.assignment, self.args.transition = self._requested, self._transition
        super().train()

    def final_eval(self) -> None:
        """Strips and validates the checkpoints as Ultralytics does, and makes sure of what they hold."""
        super().final_eval()
        if RANK not in (-1, 0):
            return
        for path in (self.best, self.last):
            if path.exists():
                self._check_held(path, load_checkpoint(path)[0])
        if self.transition and self.transition.alpha < 1:
            warnings.warn(
                f"Training ended at alpha {self.transition.alpha:.3f}, before the transition did: the new activations "
                "were not trained alone. Train longer, end the transition earlier, or raise `patience`.",
                stacklevel=2,
            )

    def _make_plan(self, before: Assignment, weights: nn.Module | None) -> tuple[TrainingPlan, float]:
        """Returns the plan for a network that had certain activations, and the alpha to start with."""
        record = getattr(weights, RECORD, {}) if self.resume else {}
        plan = TrainingPlan.from_record(record)
        if plan is None and self.resume:
            raise InputError(
                f"Expected a checkpoint that ActNASTrainer wrote, to resume from. Received: {self.args.model}."
            )
        if plan is None:
            return TrainingPlan.make(before, self._requested, self._transition), 0.0
        if self._requested is not None and plan.assignment.with_swaps(self._requested) != plan.assignment:
            raise InputError(
                f"Expected the assignment of {self.args.model}, which is resumed, or none. Received: another; start a "
                "new training run for it."
            )
        return plan, record["alpha"]

    def _setup_train(self) -> None:
        super()._setup_train()
        network = unwrap_model(self.model)
        record = getattr(network, RECORD)
        self.plan = TrainingPlan.from_record(record)
        if self.plan and self.plan.ramp:
            # Once Ultralytics has copied the network for the moving average, which stays as it will be deployed.
            self.transition = Transition(network, self.plan.before, record["alpha"])
            self.add_callback("on_train_epoch_start", _begin_epoch)
            self.add_callback("on_train_batch_start", _begin_batch)
            self.add_callback("on_train_epoch_end", _end_epoch)

    def _load_checkpoint_state(self, ckpt: dict[str, Any]) -> None:
        # When training recovers from infinite losses, this copies a network in transition.
        super()._load_checkpoint_state(ckpt)
        without(self.ema.ema)

    def _set_alpha(self, position: float) -> None:
        assert self.plan and self.plan.ramp and self.transition
        # Never back: a run of limited time guesses its number of epochs anew in every one.
        self.transition.alpha = max(self.transition.alpha, self.plan.ramp.at(position / self.epochs))

    def _record(self, alpha: float) -> None:
        assert self.plan
        for network in (unwrap_model(self.model), self.ema.ema):
            setattr(network, RECORD, self.plan.record(alpha))

    def _check_held(self, path: Any, network: nn.Module) -> None:
        assert self.plan is not None
        other = current_torch_assignment(network).swaps(self.plan.assignment)
        if other:
            site = next(iter(other))
            raise RuntimeError(
                f"{path} does not hold the assignment at {len(other)} sites, such as {site}: {other[site]}, not "
                f"{self.plan.assignment[site]}."
            )


def _begin_epoch(trainer: ActNASTrainer) -> None:
    trainer._batch = 0


def _begin_batch(trainer: ActNASTrainer) -> None:
    trainer._set_alpha(trainer.epoch + trainer._batch / len(trainer.train_loader))
    trainer._batch += 1


def _end_epoch(trainer: ActNASTrainer) -> None:
    """Sets alpha for the next epoch, so that what is saved now goes on there."""
    trainer._set_alpha(trainer.epoch + 1)
    assert trainer.transition is not None
    trainer._record(trainer.transition.alpha)
