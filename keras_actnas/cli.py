"""The command line: `keras-actnas COMMAND [--flags]`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from absl import flags

import keras_actnas
from keras_actnas.core.errors import InputError, closest

# Command -> what it does. Each is a module of `keras_actnas.commands` with `define_flags` and `run`.
COMMANDS = {
    "search": "from a model to the activation every layer should have: all steps, verified",
    "convert": "convert a model to .tflite and check the result",
    "devices": "list what networks can be measured on, and what each would need",
    "bundle": "pack a network and what measures it into one file for a board",
    "bench": "measure a .tflite, or the tables of a run on a device",
    "score": "score assignments without training: the accuracy table of a run",
    "solve": "find the best assignments that tables promise",
    "report": "write a run's report: one HTML file that needs no network",
    "compare": "what the networks found for one device cost on another",
    "apply": "write a model with the activations of an assignment as .keras or .tflite",
    "quantize": "convert a model or a proposal to int8 and report the error at every activation",
    "finetune": "train an Ultralytics YOLO with the activations of a proposal",
    "predict": "find objects on images with a YOLO, and draw them",
    "val": "mean average precision (mAP) of a YOLO on a dataset in YOLO's format",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, or 2 for input that cannot be used, or 130 when interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(_usage())
        return 0 if arguments else 2
    name = arguments[0]
    if name == "--version":
        print(keras_actnas.__version__)
        return 0
    if name not in COMMANDS:
        return _fail("keras-actnas", f"Unknown command {name!r}.{closest(name, COMMANDS)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Or TensorFlow's start-up notices drown the results.
    command = importlib.import_module(f"keras_actnas.commands.{name}")
    values = flags.FlagValues()
    command.define_flags(values)
    if any(argument in ("--help", "-h") for argument in arguments[1:]):
        print(f"{command.__doc__}\nFlags:{values.get_help()}")
        return 0
    try:
        positional = values([f"keras-actnas {name}", *arguments[1:]])[1:]
        command.run(values, positional)
        return 0
    except (InputError, flags.Error) as error:
        message = str(error)
    except KeyboardInterrupt:
        kept = getattr(command, "INTERRUPTED", "What was measured is kept: the same command continues.")
        print(f"\nInterrupted. {kept}", file=sys.stderr)
        return 130
    # Not before the error is gone, and with it a progress bar that it broke off, whose line would not have ended.
    return _fail(f"keras-actnas {name}", message)


def _usage() -> str:
    lines = [f"  {name:8}  {purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        [
            "Usage: keras-actnas COMMAND [--flags]",
            "",
            *lines,
            "",
            "keras-actnas COMMAND --help lists a command's flags.",
        ]
    )


def _fail(who: str, message: str) -> int:
    print(f"{who}: {' '.join(message.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
