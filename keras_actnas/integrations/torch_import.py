"""Torch, or the line that installs it."""

from __future__ import annotations

from keras_actnas.core.errors import MissingDependencyError

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingDependencyError("torch", "ultralytics", "A network of Ultralytics") from error

__all__ = ["nn", "torch"]
