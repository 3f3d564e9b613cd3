"""Checkpoints of Ultralytics, read without running what they may bring along.

A checkpoint is a pickle that holds the network as a Python object, and a pickle can call any function. It is read by
PyTorch's restricted unpickler (`torch.load(weights_only=True)`), and of Ultralytics' classes not even the real ones are
made, whose constructors evaluate strings: each is replaced by an empty module of its name, which holds the attributes,
the tensors and the inner modules, and can do nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from keras_actnas.core.errors import InputError
from keras_actnas.integrations.torch_activations import ACTIVATION_CLASSES
from keras_actnas.integrations.torch_import import nn, torch

TRUST = "If you know who made the file and trust them, give --trust_checkpoint (in Python: trust=True)"

# PyTorch's modules that are read as what they are: their constructors do nothing but keep their arguments.
_REAL = (
    *(nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.Upsample, nn.Sequential, nn.ModuleList, nn.ModuleDict),
    *ACTIVATION_CLASSES,
)
# Names of these packages are of modules and settings. They are replaced, so that it does not matter what they would do.
_REPLACED = ("ultralytics.", "torch.nn.modules.", "keras_actnas.")
# So are these: what a fused network runs, paths, metrics and settings.
_REPLACED_NAMES = (
    "builtins.getattr",
    *(f"{module}.{kind}Path" for module in ("pathlib", "pathlib._local") for kind in ("Posix", "Windows")),
    *("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
    *("argparse.Namespace", "types.SimpleNamespace"),
)


class Replacement(nn.Module):
    """What stands for a class of a checkpoint: a module that holds what the checkpoint gives it, and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        # A NumPy type's state is a tuple; it is not needed.
        if isinstance(state, dict):
            super().__setstate__(state)


def read_checkpoint(path: str | os.PathLike[str], trust: bool = False) -> Any:
    """Returns the network of an Ultralytics checkpoint: its averaged weights (EMA) where there are any.

    Args:
      path: A .pt file, as training writes it or `YOLO.save`, also in half precision or fused.
      trust: Whether the file may run code of its own while it is loaded.

    Returns:
      A torch module whose tree of modules, by names and class names, is that of the network. Unless trusted, modules of
      Ultralytics are `Replacement`s: they can be looked at, not run.

    Raises:
      InputError: The file does not exist, is damaged or no checkpoint of a network; or it refers to a function or a
        class that has no place in one, and is not trusted.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"Expected a checkpoint of Ultralytics. Received: {file}, which does not exist.")
    content = _load_trusted(file) if trust else _load_restricted(file)
    network = content
    if isinstance(content, dict):
        # Training keeps the averaged network alone, or puts it beside the last one.
        network = content.get("ema") if content.get("ema") is not None else content.get("model")
    # A whole `YOLO` that was pickled holds its network; a network holds its layers.
    if isinstance(getattr(network, "model", None), nn.Module) and not isinstance(network.model, nn.Sequential):
        network = network.model
    if not isinstance(getattr(network, "model", None), nn.Sequential):
        raise InputError(
            f"Expected a checkpoint of Ultralytics, with a network in it. Received: {file}, which holds "
            f"{_contents(content)}."
        )
    return network


def _load_restricted(file: Path) -> Any:
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except Exception as error:  # Of many types, by what is damaged.
        raise _unreadable(file, error, f" {TRUST}.") from error
    allowed = {name: _stand_in(name) for name in names}
    refused = sorted(name for name, value in allowed.items() if value is None)
    if refused:
        raise InputError(
            f"Expected a checkpoint of a network and nothing else. Received: {file}, which refers to "
            f"{', '.join(refused[:4])}{', ...' if len(refused) > 4 else ''} and could run code on loading. It was not "
            f"loaded. {TRUST}."
        )
    try:
        with torch.serialization.safe_globals([(value, name) for name, value in allowed.items()]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _unreadable(file, error) from error


def _load_trusted(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=False)
    except Exception as error:
        raise _unreadable(file, error) from error


def _stand_in(name: str) -> Any:
    """Returns what a name in a checkpoint is read as; None for a name that has no place in one."""
    real = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in _REAL}.get(name)
    if real is not None:
        return real
    if name not in _REPLACED_NAMES and not name.startswith(_REPLACED):
        return None
    module, _, attribute = name.rpartition(".")
    return type(attribute, (Replacement,), {"__module__": module})


def _unreadable(file: Path, error: Exception, otherwise: str = "") -> InputError:
    # PyTorch goes on to say how to load the file unsafely; the first line is what is wrong.
    reason = (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
    return InputError(f"Expected a checkpoint that can be read. Received: {file} ({reason}).{otherwise}")


def _contents(content: Any) -> str:
    if isinstance(content, dict):
        return "a dictionary of " + (", ".join(map(str, list(content)[:6])) or "nothing")
    return type(content).__name__
