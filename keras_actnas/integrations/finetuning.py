"""Fine-tuning of a proposal with Ultralytics: what was there, what swapping costs, and what training makes of it."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.files import write_atomically
from keras_actnas.integrations.torch_sites import apply_assignment, current_torch_assignment
from keras_actnas.integrations.trainer import ActNASTrainer
from keras_actnas.integrations.training_inputs import check_classes, check_data, check_settings, load_yolo
from keras_actnas.integrations.training_plan import TrainingPlan

TRANSITION = (0.0, 0.75)
"""Where the transition of the progressive recipe begins and ends, as shares of the training run. The end is that of the
shorter transition of Utasi, "PEA" (2023), section 4.1, epoch 90 of 120, which did better there; the beginning is at
once, since the weights are trained already."""

RECIPES = ("progressive", "scratch")

_RECORD = "finetune.json"


@dataclasses.dataclass(frozen=True)
class FineTuned:
    """The result of a fine-tuning.

    Attributes:
      best: The checkpoint of the best epoch.
      requested: The assignment.
      held: What `best` holds, read back from it.
      scores: "as given", "swapped, not trained" and "fine-tuned", as far as they could be measured -> mean average
        precision on the validation images: "mAP50-95" and "mAP50", from 0 to 1.
    """

    best: Path
    requested: Assignment
    held: Assignment
    scores: Mapping[str, Mapping[str, float]]

    def __str__(self) -> str:
        lines = [f"{'mAP on the validation images':30}{'50-95':>8}{'50':>8}"]
        lines += [f"{name:30}{row['mAP50-95']:8.4f}{row['mAP50']:8.4f}" for name, row in self.scores.items()]
        right = len(self.requested) - len(self.requested.swaps(self.held))
        lines.append(f"{right} of {len(self.requested)} sites hold the assignment: {self.held.summary()}")
        return "\n".join([*lines, str(self.best)])


def finetune(
    weights: str | os.PathLike[str],
    assignment: Mapping[str, str],
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    recipe: str | None = None,
    transition: tuple[float, float] = TRANSITION,
    new_classes: bool = False,
    **settings: Any,
) -> FineTuned:
    """Trains a YOLO with the activations of an assignment, and says what became of its accuracy.

    Args:
      weights: A checkpoint of Ultralytics, or a network's YAML. Checkpoints are loaded by pickle, which runs code that
        a file brings along: give files you trust only.
      assignment: Site -> activation; sites that it leaves out keep theirs.
      data: The data.yaml of a detection data set.
      out: A new folder for what Ultralytics writes; `weights/best.pt` in it is the result.
      recipe: "progressive": from the weights, sites move to their new activations gradually (`ActNASTrainer`).
        "scratch": new weights and the new activations from the start, with hyper-parameters unchanged (Sah et al.,
        "ActNAS" (2024), section 3.4). By default progressive from a checkpoint, and from scratch with a YAML.
      transition: Of the progressive recipe: start and end as shares of the training run.
      new_classes: Whether the weights may have another number of classes than the data.
      **settings: Settings of Ultralytics: `epochs`, `imgsz`, `batch`, `seed`, `lr0`, ...

    Raises:
      InputError: Something of this cannot be used; before anything is trained.

    Example:
      >>> print(finetune("best.pt", {"model.0.act": "relu"}, "data.yaml", "runs/tuned", epochs=20))  # doctest: +SKIP
    """
    is_trained = str(weights).endswith(".pt")
    recipe = recipe or RECIPES[0 if is_trained else 1]
    if recipe not in RECIPES:
        raise InputError(f"Expected a recipe of {', '.join(RECIPES)}. Received: {recipe!r}.")
    moves = transition if recipe == "progressive" else None
    out = Path(out).absolute()
    if out.exists():
        raise InputError(f"Expected a new folder. Received: {out}, which exists; give --resume, or another --out.")
    check_settings(settings)
    content = check_data(data)
    yolo = load_yolo(weights)
    before = current_torch_assignment(yolo)
    wanted = TrainingPlan.make(before, assignment, moves).assignment
    if is_trained and moves:
        check_classes(yolo, content, new_classes)
        settings = {**settings, "pretrained": True}
    elif is_trained:
        settings = {**settings, "pretrained": False}
    scores = _scores_before(weights, wanted, content, data, settings) if is_trained else {}
    _write_note(out, wanted, scores)
    place = {"project": str(out.parent), "name": out.name, "exist_ok": True}
    yolo.train(trainer=ActNASTrainer, assignment=wanted, transition=moves, data=str(data), **place, **settings)
    return _result(out, wanted, scores, data, settings)


def resume_finetuning(out: str | os.PathLike[str], **settings: Any) -> FineTuned:
    """Goes on with a fine-tuning that was interrupted, from its last checkpoint.

    Args:
      out: Its folder.
      **settings: Settings of Ultralytics that may change on the way, such as `batch`, `device` and `workers`.

    Raises:
      InputError: The folder is of no fine-tuning, has no checkpoint yet, or the training has ended.
    """
    out = Path(out).absolute()
    try:
        note = json.loads((out / _RECORD).read_text(encoding="utf-8"))
        wanted, scores = Assignment(note["assignment"]), note["scores"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"Expected the folder of a fine-tuning. Received: {out} ({error}).") from error
    last = out / "weights" / "last.pt"
    if not last.is_file():
        raise InputError(f"Expected a checkpoint to resume from. Received: {out}, which has none yet; begin again.")
    check_settings(settings)
    yolo = load_yolo(last)
    if yolo.ckpt.get("epoch", -1) < 0:
        raise InputError(f"Expected a training to go on with. Received: {out}, where it has ended.")
    data = yolo.ckpt["train_args"]["data"]
    check_data(data)
    own = {"imgsz": yolo.ckpt["train_args"]["imgsz"], "batch": yolo.ckpt["train_args"]["batch"]}
    yolo.train(trainer=ActNASTrainer, resume=True, **settings)
    return _result(out, wanted, scores, data, {**own, **settings})


def _scores_before(
    weights: Any, wanted: Assignment, content: Mapping[str, Any], data: Any, settings: Mapping[str, Any]
) -> dict[str, dict[str, float]]:
    """Returns what the weights reach as they are, and with the new activations, untrained."""
    scores: dict[str, dict[str, float]] = {}
    for name in ("as given", "swapped, not trained"):
        yolo = load_yolo(weights)  # Anew, since validating folds a network's BatchNorm into its convolutions.
        if yolo.model.model[-1].nc != content["nc"]:
            return {}
        if scores:
            apply_assignment(yolo, wanted)
        scores[name] = _validate(yolo, data, settings)
    return scores


def _validate(yolo: Any, data: Any, settings: Mapping[str, Any]) -> dict[str, float]:
    kept = {key: settings[key] for key in ("imgsz", "device", "workers", "single_cls") if key in settings}
    if settings.get("batch", 0) >= 1:  # Other values let Ultralytics choose, in training only.
        kept["batch"] = settings["batch"]
    with tempfile.TemporaryDirectory() as folder:
        box = yolo.val(data=str(data), plots=False, verbose=False, project=folder, **kept).box
    return {"mAP50-95": float(box.map), "mAP50": float(box.map50)}


def _write_note(out: Path, wanted: Assignment, scores: Mapping[str, Any]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Expected a folder that can be written. Received: {out} ({error.strerror}).") from error
    content = {"assignment": dict(wanted), "scores": scores}
    write_atomically(out / _RECORD, json.dumps(content, indent=1) + "\n")


def _result(
    out: Path, wanted: Assignment, scores: Mapping[str, Any], data: Any, settings: Mapping[str, Any]
) -> FineTuned:
    best = out / "weights" / "best.pt"
    yolo = load_yolo(best if best.is_file() else best.with_name("last.pt"))
    held = current_torch_assignment(yolo)
    result = FineTuned(Path(yolo.ckpt_path), wanted, held, {**scores, "fine-tuned": _validate(yolo, data, settings)})
    _write_note(out, wanted, result.scores)
    return result
