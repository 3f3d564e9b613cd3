"""keras-actnas bundle: pack a network and what measures it into one file, for a board without Keras and TensorFlow.

  keras-actnas bundle --model=yolov5n -o bench.pyz          here
  python3 bench.pyz                                         on the board: Python 3.10, NumPy and a TFLite runtime
  keras-actnas search --model=yolov5n --device=journal:bench.jsonl

The bundle measures the networks that a search with the same flags would; or, with --assignment, those that are given:
an activation for every site, a JSON file of site: activation, or all proposals of a proposals.json.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from absl import flags

from keras_actnas.commands.assignments import read_assignments
from keras_actnas.commands.models import check_new_file, define_model_flags, load_model
from keras_actnas.commands.runs import define_design_flags, model_name
from keras_actnas.core.activations import parse_activations
from keras_actnas.core.errors import InputError
from keras_actnas.export.activation_ops import check_editable


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    define_model_flags(values)
    define_design_flags(values)
    flags.DEFINE_string("out", None, "The file to write, such as bench.pyz.", short_name="o", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Whether --out may exist already.", flag_values=values)
    flags.DEFINE_multi_string(
        "assignment", [], "What to measure in place of a design; may be repeated.", flag_values=values
    )
    flags.DEFINE_bool("memory", None, "Whether memory is measured; by default with --assignment.", flag_values=values)


def run(values: Any, positional: list[str]) -> None:
    """Runs the command."""
    if not values.out or positional:
        raise InputError(f"Expected --out=FILE.pyz. Received: {positional[0] if positional else values.out!r}.")
    check_new_file(values.out, values.overwrite)
    model = load_model(values)
    from keras_actnas.devices import write_bundle

    network = _convert(values, model)
    plan = _plan(values, model, network)
    size = write_bundle(values.out, network, plan)
    print(
        f"{values.out}: {size / 1e6:.1f} MB, of which the network is {len(network) / 1e6:.1f}; "
        f"{len(plan.request.assignments)} networks to measure.\n"
        f"On the board, with NumPy and ai-edge-litert or tflite-runtime: python3 {Path(values.out).name}"
    )


def _convert(values: Any, model: Any) -> bytes:
    """Returns the .tflite that candidates are made from."""
    from keras_actnas.export import to_editable
    from keras_actnas.search.images import image_batch
    from keras_actnas.search.preparation import CALIBRATION_IMAGES

    images = None
    if values.precision == "int8":
        shape = tuple(model.inputs[0].shape[1:])
        images = image_batch(values.images, CALIBRATION_IMAGES, shape, values.seed, values.pixel_max)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.tflite"
        print(to_editable(model, path, values.precision or "float32", images))
        return path.read_bytes()


def _plan(values: Any, model: Any, network: bytes) -> Any:
    from keras_actnas.devices import Plan, Request
    from keras_actnas.devices.plan import DEFAULT_RUNS
    from keras_actnas.export import TFLiteNetwork
    from keras_actnas.search import make_design
    from keras_actnas.search.fingerprint import model_fingerprint
    from keras_actnas.surgery import current_assignment

    reference = current_assignment(model).at(TFLiteNetwork(network).reference)
    if values.assignment:
        chosen = [one for text in values.assignment for one in read_assignments(text, reference)]
    else:
        activations = parse_activations(values.activations)
        check_editable(activations)
        design = values.design or "orthogonal"
        chosen = make_design(design, reference, activations, values.networks, values.seed)
    request = Request(
        tuple(dict.fromkeys(chosen)),
        reference,
        runs=values.runs or DEFAULT_RUNS,
        purpose="verify" if values.assignment else "design",
        model=model_fingerprint(model),
        inspect=bool(values.assignment) if values.memory is None else values.memory,
        reopen=bool(values.assignment),
    )
    return Plan(
        model_name(values),
        request,
        minutes=None if values.runs else values.minutes,
        num_threads=values.num_threads or 1,
        delegate=values.delegate or "xnnpack",
        precision=values.precision or "float32",
    )
