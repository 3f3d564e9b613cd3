"""Flags of the commands that work in a run folder, and the search that they describe."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from keras_actnas.commands.models import define_model_flags, is_named, load_model
from keras_actnas.core.constraints import Constraint
from keras_actnas.core.errors import InputError
from keras_actnas.devices.specs import FORMS, open_device
from keras_actnas.search.choice_program import SOLVERS
from keras_actnas.search.designs import DESIGNS
from keras_actnas.search.proxies.registry import PROXIES
from keras_actnas.search.rules import Rules
from keras_actnas.search.settings import ADAPTIVE, BATCH_NORM_MODES, DEFAULT_CONSTRAINTS, SearchSettings
from keras_actnas.tflite_bench import DELEGATES

DEFAULT_SCORE_SIZE = "224"
PRECISIONS = ("float32", "float16", "int8")
_DEFAULTS = SearchSettings()
_DESIGNS_SAY = {
    "orthogonal": "a balanced main-effect plan",
    "mixtures": "balanced, at random",
    "shares": "at random, with random shares",
    "single_swaps": "one swap at a time, as in the paper",
    ADAPTIVE: "orthogonal first, then, in --rounds, those that may be the best",
}


def define_run_flags(values: flags.FlagValues) -> None:
    """Defines every flag that a search depends on."""
    define_model_flags(values)
    flags.DEFINE_string(
        "out", None, "Run folder; by default runs/MODEL-IMAGE_SIZE. An interrupted run continues.", flag_values=values
    )
    flags.DEFINE_string(
        "device",
        "host",
        f"What the network will run on: {'; '.join(f'{form}: {what}' for form, what in FORMS.items())}.",
        flag_values=values,
    )
    define_design_flags(values, _DEFAULTS.minutes, (*DESIGNS, ADAPTIVE))
    flags.DEFINE_boolean(
        "loop", _DEFAULTS.loop,
        "Measure the proposals, fit the tables again, and solve again, until predictions and measurements agree.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "rounds",
        _DEFAULTS.rounds,
        "How often proposals may be scored and, if they break a bound on the score, solved for again; and rounds of "
        "--loop, at most.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "evaluations",
        _DEFAULTS.evaluations,
        "Networks that a local search may try after --loop, on a device whose values are exact; 0 for none.",
        lower_bound=0,
        flag_values=values,
    )
    _define_score_flags(values)
    define_solve_flags(values)


def define_design_flags(
    values: flags.FlagValues, minutes: float | None = None, designs: Sequence[str] = DESIGNS
) -> None:
    """Defines the flags that say which networks are measured and how.

    Args:
      values: Where the flags go.
      minutes: Default of the time budget; None for as long as 50 runs of each take.
      designs: Names of the designs there are to choose from.
    """
    flags.DEFINE_list(
        "activations",
        list(_DEFAULTS.activations),
        "Candidates for every site, besides the activation that the model has there.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "design", _DEFAULTS.design, designs,
        f"Networks to measure: {'; '.join(f'{name}: {_DESIGNS_SAY[name]}' for name in designs)}. By default "
        "orthogonal, but single swaps on a device whose values are exact, and for scores what the proxy needs.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "networks",
        _DEFAULTS.networks,
        "How many networks are measured, and how many are scored, unless they are single swaps.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "runs", None, "Timed runs of each network; by default as many as --minutes allow, at most 50.",
        lower_bound=1, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_float(
        "minutes", minutes, "Time budget for measuring the design, again for --loop, and again for verifying.",
        lower_bound=0.0, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "num_threads", None, "Threads of the runtime; by default 1.", lower_bound=1, flag_values=values
    )
    flags.DEFINE_enum("delegate", None, DELEGATES, "TFLite delegate; by default xnnpack.", flag_values=values)
    flags.DEFINE_enum(
        "precision", None, PRECISIONS,
        "Precision of the networks that are measured; by default float32, and int8 on an NPU.", flag_values=values,
    )  # fmt: skip
    flags.DEFINE_string(
        "images", None, "Folder of photographs, for scores and for the ranges of int8; by default scikit-image's.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_float(
        "pixel_max",
        _DEFAULTS.pixel_max,
        "Value of a white pixel as the model expects it: 1 or 255.",
        flag_values=values,
    )


def _define_score_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "proxy", "",
        f"What networks are scored by: {'; '.join(f'{kind.name}: {kind.says}' for kind in PROXIES.values())}; or "
        "module:function. By default fine_tuned with --train_data, else nwot.", flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "batches", _DEFAULTS.batches,
        "Batches of images that scores are averaged over: initializations take them in turns.",
        lower_bound=1, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "score_processes", _DEFAULTS.score_processes,
        "Processes that compute scores; 0 for this one, which uses all cores by itself.",
        lower_bound=0, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_string(
        "scheduler", _DEFAULTS.scheduler,
        "Address of a Dask scheduler, such as tcp://host:8786, whose workers compute the scores in place of processes "
        "here.", flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "batch_size", _DEFAULTS.batch_size, "Images in a batch that is scored on.", lower_bound=2, flag_values=values
    )
    flags.DEFINE_string(
        "score_image_size", DEFAULT_SCORE_SIZE,
        "Image size for scores of a YOLO by name or of Ultralytics; by default --image_size with --train_data.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "seeds", _DEFAULTS.seeds, "Initializations that scores are averaged over; 0 scores the model's own weights.",
        lower_bound=0, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_string(
        "train_data", None,
        "Labelled data for a proxy that trains, fine_tuned or one_shot: a folder with a folder of images for each "
        "class, or module:function that returns (inputs, targets) as arrays, or (train, validation) as datasets of "
        "batches; for fine_tuned of a detector of Ultralytics, its data.yaml.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "train_steps", _DEFAULTS.train_steps,
        "Steps of a training: of each network for fine_tuned, of one for all, with each of --seeds, for one_shot.",
        lower_bound=1, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "trainings", _DEFAULTS.trainings,
        "How many networks fine_tuned trains for its table; proposals come besides, in --rounds.",
        lower_bound=1, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_float(
        "learning_rate", None,
        "Highest learning rate of a training, which falls along a cosine; by default that of a compiled model, else "
        "what is usual for SGD, or, for a detector, what Ultralytics chooses for AdamW.",
        lower_bound=0.0, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_string(
        "loss", None,
        "What a training minimizes: a loss of Keras, such as mse, or module:function of targets and outputs; by "
        "default that of a compiled model, else the cross entropy of classes.", flag_values=values,
    )  # fmt: skip
    flags.DEFINE_enum(
        "batch_norm", _DEFAULTS.batch_norm, BATCH_NORM_MODES,
        "BatchNorm in scores: moving statistics, as the paper's authors do, or the batch's.", flag_values=values,
    )  # fmt: skip


def define_solve_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the solver."""
    flags.DEFINE_string(
        "minimize", None,
        "Metric to minimize: latency (the default), or a weighted sum, each metric in its own unit: "
        "'latency+0.5*memory'.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_string("maximize", None, "Metric, or sum, to maximize instead, such as nwot.", flag_values=values)
    flags.DEFINE_multi_string(
        "constraint", None,
        "Bound on a metric: 'latency<=90%', 'latency<=24.5', 'nwot>=reference-0.5'; may be repeated, empty for none. "
        "By default that the proxy's score is no worse: nwot>=reference, sensitivity<=0.05, fine_tuned<=100.5%.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_float(
        "confidence", None,
        "Probability with which every bound must hold under the tables' errors, such as 0.95; 0.5 for the predicted "
        "values alone, which is the default but for fine_tuned (0.9).",
        lower_bound=0.5, upper_bound=1.0, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_multi_string(
        "pin", [], "SITE=ACTIVATION that the site must have; may be repeated.", flag_values=values
    )
    flags.DEFINE_multi_string(
        "group", [], "SITE,SITE,... that must have the same activation; may be repeated.", flag_values=values
    )
    flags.DEFINE_multi_string(
        "forbid", [],
        "ACTIVATION that no site may have, or SITE=ACTIVATION that this one may not; may be repeated.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "max_activations", None, "How many different activations there may be, at most.",
        lower_bound=1, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer("top_k", _DEFAULTS.top_k, "How many proposals.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer(
        "min_distance",
        _DEFAULTS.min_distance,
        "Sites in which any two proposals differ, at least.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_enum("solver", _DEFAULTS.solver, SOLVERS, "ILP solver.", flag_values=values)


def objective(values: Any, metrics: Container[str] | None = None) -> dict[str, Any]:
    """Returns the keyword arguments of the ILP search that the flags describe.

    Args:
      values: Parsed flags.
      metrics: Metrics that there are tables of; default constraints are on the proxies among
        them. None for those of the settings' proxy.
    """
    if values.minimize and values.maximize:
        raise InputError("Expected --minimize or --maximize. Received: both.")
    return {
        "minimize": None if values.maximize else values.minimize or "latency",
        "maximize": values.maximize,
        **limits(values, metrics),
        "top_k": values.top_k,
        "min_distance": values.min_distance,
        "solver": values.solver,
    }


def limits(values: Any, metrics: Container[str] | None = None) -> dict[str, Any]:
    """Returns what the flags ask every solver to keep to; `metrics` as in `objective`."""
    kinds = [kind for kind in PROXIES.values() if metrics is not None and kind.name in metrics]
    if values.constraint is None:
        constraints = DEFAULT_CONSTRAINTS if metrics is None else tuple(kind.constraint for kind in kinds)
    else:
        constraints = tuple(Constraint.parse(text) for text in values.constraint if text.strip())
    return {
        "constraints": constraints,
        "rules": Rules.parse(values.pin, values.group, values.max_activations, values.forbid),
        "confidence": max((kind.confidence for kind in kinds if kind.confidence), default=None)
        if values.confidence is None
        else values.confidence,
    }


def make_settings(values: Any) -> Any:
    """Returns the `SearchSettings` that the flags describe.

    Raises:
      InputError: A flag's value cannot be used.
    """
    chosen = {name: getattr(values, name) for name in _SETTINGS}
    return SearchSettings(**objective(values), activations=tuple(values.activations), **chosen)


def load_score_model(values: Any) -> Any:
    """Returns the model to score: that of `--model`, at `--score_image_size` if it can be built at any.

    A network is trained at the size that it is for, unless another is asked for.
    """
    trained = values.train_data is not None and not values["score_image_size"].present
    return load_model(values, values.image_size if trained else values.score_image_size)


def make_search(values: Any) -> Any:
    """Returns the `Search` that the flags describe; raises `InputError` for a flag whose value cannot be used."""
    settings = make_settings(values)
    device = open_device(values.device, values.num_threads, values.delegate, values.precision)
    settings.check_metrics([*device.metrics, settings.kind.name])
    model = load_model(values)
    from keras_actnas.search import Search

    where = "" if values.device == "host" else "-" + re.sub(r"[^\w.@-]+", "-", device.name).strip("-")
    return Search(
        model,
        values.out or Path("runs") / f"{model_name(values)}{where}",
        settings,
        device=device,
        score_model=load_score_model(values) if is_named(values.model) else None,
        name=Path(values.model).name,
        progress=progress,
        say=print,
    )


def model_name(values: Any) -> str:
    """Returns what a model is called in names of folders: yolov5n-320, best-320, else the file's name."""
    if is_named(values.model):
        return f"{Path(values.model).stem}-{values.image_size}"
    return values.model.replace(":", ".") if ":" in values.model else Path(values.model).stem


_SETTINGS = (
    "design",
    "networks",
    "loop",
    "rounds",
    "evaluations",
    "runs",
    "minutes",
    "proxy",
    "images",
    "batch_size",
    "pixel_max",
    "seeds",
    "batches",
    "score_processes",
    "scheduler",
    "batch_norm",
    "seed",
    "train_data",
    "train_steps",
    "trainings",
    "learning_rate",
    "loss",
)


def progress(items: Iterable[Any], label: str, unit: str = "network") -> Iterable[Any]:
    """Shows a bar with the time left while `items` are worked through; on a terminal that can show it."""
    import tqdm

    return tqdm.tqdm(items, desc=label, unit=unit, dynamic_ncols=True, mininterval=0.5)
