"""keras-actnas finetune: train an Ultralytics YOLO with the activations that a search found for it.

  keras-actnas finetune runs/yolov5n-320 --data=data.yaml --weights=best.pt --epochs=30
  keras-actnas finetune runs/yolov5n-320 --data=data.yaml --epochs=300            from scratch, as in the paper
  keras-actnas finetune runs/yolov5n-320 --data=data.yaml --weights=best.pt lr0=0.001 device=0 workers=8
  keras-actnas finetune --resume --out=runs/yolov5n-320/finetune                  goes on after an interruption

With trained weights, the sites whose activation changes move to it gradually, so that training starts from what the
weights can do. KEY=VALUE are settings of Ultralytics. The result is weights/best.pt in --out, a checkpoint like any
other of Ultralytics. Ultralytics loads checkpoints by pickle, which runs code that a file brings along: give it files
that you trust only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags

from keras_actnas.commands.assignments import read_assignment
from keras_actnas.commands.models import parse_image_size
from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError, MissingDependencyError
from keras_actnas.core.proposal import read_proposals
from keras_actnas.core.run_files import read_identity

INTERRUPTED = "The last whole epoch is kept: --resume continues."

# Flag -> the setting of Ultralytics that it is.
_SETTINGS = {"epochs": "epochs", "batch": "batch", "seed": "seed", "image_size": "imgsz"}
_EPOCHS = {"progressive": 30, "scratch": 300}


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("data", None, "data.yaml of a data set in the format of YOLO.", flag_values=values)
    flags.DEFINE_string(
        "weights", None, "An Ultralytics checkpoint (.pt), or a network's .yaml; by default the run's YOLO by name.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_string(
        "assignment", None,
        "An activation, a JSON file of site: activation, or proposals.json#NAME, also of a file in the run; by default "
        "the run's best.json.", flag_values=values,
    )  # fmt: skip
    flags.DEFINE_enum(
        "recipe", None, list(_EPOCHS),
        "progressive: sites move from what the weights have to the new activations gradually; scratch: new weights, "
        "and the new activations at once. By default progressive from a checkpoint, else scratch.", flag_values=values,
    )  # fmt: skip
    flags.DEFINE_float(
        "transition_start", 0.0, "Where sites begin to move, as a share of the training.",
        lower_bound=0.0, upper_bound=1.0, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_float(
        "transition_end", 0.75, "Where they have the new activations alone, as a share of the training.",
        lower_bound=0.0, upper_bound=1.0, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_bool(
        "new_classes", False, "Whether the weights may be of other classes than the data.", flag_values=values
    )
    flags.DEFINE_integer(
        "epochs", None, "Epochs; by default 300 from scratch, as in the paper, and 30 progressively.",
        lower_bound=1, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_string(
        "image_size", None, "Image size in pixels; by default the run's, or 640 without a run.", flag_values=values
    )
    flags.DEFINE_integer("batch", 16, "Images in a batch; -1 lets Ultralytics choose.", flag_values=values)
    flags.DEFINE_integer("seed", 0, "Seed of everything random.", lower_bound=0, flag_values=values)
    flags.DEFINE_string(
        "out", None, "New folder for what Ultralytics writes; by default finetune in the run.", flag_values=values
    )
    flags.DEFINE_bool("resume", False, "Whether to go on with the training in --out.", flag_values=values)


def run(values: Any, positional: list[str]) -> None:
    """Runs the command."""
    runs = [word for word in positional if "=" not in word]
    if len(runs) > 1:
        raise InputError(f"Expected one run folder, and settings as KEY=VALUE. Received: {' '.join(runs)}.")
    folder = Path(runs[0]) if runs else None
    if not values.out and not folder:
        raise InputError("Expected a run folder, or --out=FOLDER. Received: neither.")
    out = Path(values.out) if values.out else Path(folder or ".", "finetune")
    settings = _parse_settings([word for word in positional if "=" in word])
    if values.resume:
        from keras_actnas.integrations.finetuning import resume_finetuning

        given = {"batch": values.batch} if values["batch"].present else {}
        _print(resume_finetuning(out, **given, **settings))
        return
    _begin(values, folder, out, settings)


def _begin(values: Any, folder: Path | None, out: Path, settings: dict[str, Any]) -> None:
    identity = read_identity(folder) if folder else {}
    weights = values.weights or _default_weights(identity)
    if not folder and not values.assignment:
        raise InputError("Expected a run folder, or --assignment. Received: neither.")
    from keras_actnas.integrations.finetuning import RECIPES, finetune
    from keras_actnas.integrations.torch_sites import current_torch_assignment
    from keras_actnas.integrations.training_inputs import check_data, check_network, load_yolo

    check_data(values.data)
    yolo = load_yolo(weights)
    if folder:
        check_network(yolo, str(identity["model"]), _run_sites(folder))
    recipe = values.recipe or RECIPES[0 if str(weights).endswith(".pt") else 1]
    result = finetune(
        weights,
        read_assignment(_in_run(values.assignment or "best.json", folder), current_torch_assignment(yolo)),
        values.data,
        out,
        recipe=recipe,
        transition=(values.transition_start, values.transition_end),
        new_classes=values.new_classes,
        epochs=values.epochs or _EPOCHS[recipe],
        imgsz=_image_size(values, identity),
        batch=values.batch,
        seed=values.seed,
        **settings,
    )
    _print(result)


def _default_weights(identity: dict[str, Any]) -> str:
    name = str(identity.get("model", ""))
    if not name.startswith("yolo") or "." in name:
        raise InputError(
            f"Expected --weights=FILE.pt or FILE.yaml, for a run of {name or 'no YOLO by name'}. Received: none."
        )
    return f"{name}.yaml"


def _run_sites(folder: Path) -> Assignment:
    """Returns the sites of the network that a run is of."""
    path = folder / "proposals.json"
    try:
        return Assignment(read_proposals(path)[1]["reference"]["assignment"])
    except (KeyError, TypeError) as error:
        raise InputError(f"Expected the proposals.json of a run. Received: {path} (without {error}).") from error


def _in_run(text: str, folder: Path | None) -> str:
    """Returns what `--assignment` says, with a file that lies in the run only as the path to it."""
    path = text.partition("#")[0]
    if folder and not Path(path).is_file() and (folder / path).is_file():
        return str(folder / text)
    return text


def _image_size(values: Any, identity: dict[str, Any]) -> int:
    if values.image_size:
        return max(parse_image_size(values.image_size))
    return max(identity.get("input_shape", [640])[:2])


def _parse_settings(words: list[str]) -> dict[str, Any]:
    """Returns settings of Ultralytics from KEY=VALUE, values read as YAML."""
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError("pyyaml", "ultralytics", "Training a YOLO") from error
    settings = {}
    for word in words:
        key, _, text = word.partition("=")
        flag = next((flag for flag, setting in _SETTINGS.items() if setting == key), None)
        if flag:
            raise InputError(f"Expected --{flag}={text}. Received: {word}.")
        try:
            settings[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"Expected settings of Ultralytics as KEY=VALUE. Received: {word}.") from error
    return settings


def _print(result: Any) -> None:
    print(f"\n{result}")
