"""What proxies have in common that run one switchable network: weights from seeds, checked images, one compilation."""

from __future__ import annotations

import abc
import contextlib
import copy
import functools
import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_actnas.core.activations import CANDIDATES
from keras_actnas.core.errors import InputError
from keras_actnas.layers import activation_function
from keras_actnas.search.fingerprint import model_fingerprint
from keras_actnas.search.settings import BATCH_NORM_MODES, BatchNormMode
from keras_actnas.search.switchable import SwitchableNetwork, switchable_sites


class NetworkProxy(abc.ABC):
    """A `Proxy` that runs a switchable copy of the model.

    One function is compiled, once; every assignment, every seed and every batch of images runs through it.

    Args:
      model: A Keras model with one image input of fixed size.
      images: Array of shape (batch, height, width, channels), preprocessed as the model expects; all different.
      activations: What the sites can be switched to, besides the reference's own.
      batch_norm: "inference" normalizes by the moving statistics; "batch" by those of `images`.

    Attributes:
      reference: The model's own assignment.
      conditions: What a score depends on besides assignment and seed: the model, the images, their number and size, and
        the mode.

    Raises:
      InputError: The images do not fit the model, or two of them are the same.
    """

    metric: str
    unit = ""
    higher_is_better = True

    def __init__(
        self,
        model: keras.Model,
        images: np.ndarray,
        activations: Sequence[str] = CANDIDATES,
        batch_norm: BatchNormMode = "inference",
    ) -> None:
        if batch_norm not in BATCH_NORM_MODES:
            raise InputError(f"Expected batch_norm to be 'inference' or 'batch'. Received: {batch_norm!r}.")
        self._images = self._seen(model, images)
        self.reference = switchable_sites(model)
        for name in activations:
            activation_function(name)  # Raises for one that no switch can apply.
        self.conditions: dict[str, Any] = {
            "model": model_fingerprint(model),
            **self._image_conditions(),
            "batch_norm": batch_norm,
        }

        def build() -> SwitchableNetwork:
            return SwitchableNetwork(self._run(model), activations, len(self._images), batch_norm == "batch")

        self._seeded = SeededNetwork(build, self._compile, self._weights)

    def on(self, images: np.ndarray) -> NetworkProxy:
        """Returns the proxy on another batch of as many images; both share the compiled network."""
        other = copy.copy(self)
        other._images = self._seen(self._seeded.model, images)
        if len(other._images) != len(self._images):
            raise InputError(f"Expected a batch of {len(self._images)} images. Received: {len(other._images)}.")
        other.conditions = {**self.conditions, **other._image_conditions()}
        return other

    def _run(self, model: keras.Model) -> keras.Model:
        """Returns the model that is made switchable and run."""
        return model

    def _seen(self, model: keras.Model, images: np.ndarray) -> np.ndarray:
        """Returns what the network is run on."""
        return checked_images(model, images)

    def _image_conditions(self) -> dict[str, Any]:
        """Returns what a score depends on of the images."""
        return {
            "images": hashlib.sha256(self._images.tobytes()).hexdigest()[:16],
            "batch_size": len(self._images),
            "input_shape": list(self._images.shape[1:]),
        }

    def _weights(self, model: keras.Model, weights: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the weights that the network is run with, one array for each of the model's."""
        return weights

    @abc.abstractmethod
    def _compile(self, network: SwitchableNetwork) -> Any:
        """Returns what computes the score's ingredients; it is made once, when the first score is asked for."""

    @abc.abstractmethod
    def score(self, assignment: Mapping[str, str], seed: int | None = None) -> float:
        """Returns the score of an assignment; sites that it does not name keep the reference's activation.

        Args:
          assignment: Site -> activation.
          seed: Seed of the initial weights; None scores the weights that the model has.

        Raises:
          InputError: An unknown site or activation, or a score that is not defined.
        """


class SeededNetwork:
    """A switchable network, built when it is first needed, that takes on the weights of any seed.

    Args:
      build: Makes the network.
      compile_: Makes from the network what computes scores.
      change: Takes the Keras model and a list of weights; returns those to compute with.
    """

    def __init__(
        self,
        build: Callable[[], SwitchableNetwork],
        compile_: Callable[[SwitchableNetwork], Any],
        change: Callable[[keras.Model, list[np.ndarray]], list[np.ndarray]],
    ) -> None:
        self._build = build
        self._compile = compile_
        self._change = change
        self._loaded: Any = None
        self._weights_of: dict[int | None, list[np.ndarray]] = {}

    @functools.cached_property
    def network(self) -> SwitchableNetwork:
        """The switchable network."""
        network = self._build()
        self._weights_of[None] = self._change(network.model, network.model.get_weights())
        return network

    @property
    def model(self) -> keras.Model:
        """The switchable network as a Keras model."""
        return self.network.model

    @functools.cached_property
    def compiled(self) -> Any:
        """What computes scores."""
        return self._compile(self.network)

    def prepare(self, assignment: Mapping[str, str], seed: int | None) -> Any:
        """Loads a seed's weights and switches the sites; returns what computes scores."""
        network = self.network
        if self._loaded != (seed,):
            network.model.set_weights(self._weights(seed))
            self._loaded = (seed,)
        network.assign(assignment)
        return self.compiled

    def _weights(self, seed: int | None) -> list[np.ndarray]:
        """Returns weights for the network: the model's own, or initial ones."""
        if seed not in self._weights_of:
            with random_state(int(seed)):  # type: ignore[arg-type]
                self._weights_of[seed] = self._change(self.model, self.network.initial_weights())
        return self._weights_of[seed]


def graph(function: Callable[..., Any]) -> Any:
    """Returns a function as one compiled TensorFlow graph, or as it is on other backends.

    Choices are variables there as well, which `jax.jit` would freeze.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False)
    return function


def checked_images(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns images in float32; raises `InputError` when they cannot be used to score the model."""
    images = np.asarray(images, np.float32)
    expected = tuple(model.inputs[0].shape[1:])
    if len(model.inputs) != 1 or images.ndim != 4 or images.shape[1:] != expected:
        raise InputError(
            f"Expected a model with one image input and images of its shape {expected}. "
            f"Received: {len(model.inputs)} inputs and images of shape {images.shape}."
        )
    if len(images) < 2:
        raise InputError("Expected at least 2 images to score a network with. Received: 1.")
    if not np.isfinite(images).all():
        raise InputError("Expected finite pixels. Received: NaN or infinity in the images.")
    first_at: dict[bytes, int] = {}
    for number, image in enumerate(images):
        other = first_at.setdefault(image.tobytes(), number)
        if other != number:
            raise InputError(
                "Expected different images, since equal ones make NWOT minus infinity. "
                f"Received: image {number} is the same as image {other}. Remove the duplicate."
            )
    return images


@contextlib.contextmanager
def random_state(seed: int) -> Iterator[None]:
    """Seeds every generator of Keras's initializers; leaves Python's and NumPy's as they were."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
