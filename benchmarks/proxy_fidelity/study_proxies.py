"""NWOT on the study's own images, for a search of its networks: `--proxy` names these functions."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from subjects import Subject

from keras_actnas.search.proxies import Proxy, make_proxy

scored: list[Subject] = []
"""The one whose images are scored on, instead of photographs."""


def study_nwot(model: keras.Model, images: np.ndarray, activations: Sequence[str], batch_norm: str) -> Proxy:
    """Returns NWOT on as many of the study's images."""
    return _on_own_images("nwot", model, len(images), activations, batch_norm)


def study_nwot_batch(model: keras.Model, images: np.ndarray, activations: Sequence[str], batch_norm: str) -> Proxy:
    """Returns NWOT with batch statistics on as many of the study's images."""
    return _on_own_images("nwot_batch", model, len(images), activations, batch_norm)


def _on_own_images(name: str, model: keras.Model, count: int, activations: Sequence[str], batch_norm: str) -> Proxy:
    proxy = make_proxy(name, model, scored[-1].batch(count), activations, batch_norm)
    proxy.metric = f"study_{name}"
    return proxy
