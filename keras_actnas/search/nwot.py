"""NWOT: a score of an untrained network from how differently it codes the images of one batch.

Mellor et al., "Neural Architecture Search without Training" (2021), as the authors of ActNAS use it (section 3.1).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_actnas.core.activations import CANDIDATES
from keras_actnas.core.errors import InputError
from keras_actnas.layers import activation_function
from keras_actnas.search.fingerprint import model_fingerprint
from keras_actnas.search.settings import BATCH_NORM_MODES, BatchNormMode
from keras_actnas.search.switchable import SwitchableNetwork, switchable_sites


class NWOTScorer:
    """Scores assignments of one model on one batch of images.

    Every site codes an image by the signs of the activation's input: c(x) = [input > 0]. The codes of two images agree
    in K_ij places, summed over all sites; the score is log |det K|. Higher means that the images are told apart better.

    One function is compiled, once; every assignment and every seed runs through it.

    Args:
      model: A Keras model with one image input of fixed size.
      images: Array of shape (batch, height, width, channels), preprocessed as the model expects; all different.
      activations: What the sites can be switched to, besides the reference's own.
      batch_norm: "inference" uses the moving statistics, as the paper's authors do; "batch" those of `images`.

    Attributes:
      reference: The model's own assignment.
      conditions: What a score depends on besides assignment and seed: the model, the images, their number and size, and
        the mode.

    Raises:
      InputError: The images do not fit the model, or two of them are the same.
    """

    def __init__(
        self,
        model: keras.Model,
        images: np.ndarray,
        activations: Sequence[str] = CANDIDATES,
        batch_norm: BatchNormMode = "inference",
    ) -> None:
        if batch_norm not in BATCH_NORM_MODES:
            raise InputError(f"Expected batch_norm to be 'inference' or 'batch'. Received: {batch_norm!r}.")
        images = np.asarray(images, np.float32)
        _check_images(model, images)
        self.reference = switchable_sites(model)
        for name in activations:
            activation_function(name)  # Raises for one that no switch can apply.
        self.conditions: dict[str, Any] = {
            "model": model_fingerprint(model),
            "images": hashlib.sha256(images.tobytes()).hexdigest()[:16],
            "batch_size": len(images),
            "input_shape": list(images.shape[1:]),
            "batch_norm": batch_norm,
        }
        self._images = images
        self._build = functools.partial(SwitchableNetwork, model, activations, len(images), batch_norm == "batch")
        self._loaded: Any = None
        self._weights_of: dict[int | None, list[np.ndarray]] = {}

    def score(self, assignment: Mapping[str, str], seed: int | None = None) -> float:
        """Returns the NWOT score of an assignment; sites that it does not name keep the reference's activation.

        Args:
          assignment: Site -> activation.
          seed: Seed of the initial weights; None scores the weights that the model has.

        Raises:
          InputError: An unknown site or activation, NaN in the network, or a kernel without full rank.
        """
        network = self._network
        if self._loaded != (seed,):
            network.model.set_weights(self._weights(seed))
            self._loaded = (seed,)
        network.assign(assignment)
        kernels, finite = self._kernels(self._images)
        if not bool(finite):
            raise InputError(
                "Expected finite values at every activation. Received: NaN or infinity; check the model's weights and "
                "the range of the images (`--pixel_max`)."
            )
        return log_determinant(np.asarray(kernels).sum(axis=0, dtype=np.float64))

    @functools.cached_property
    def _network(self) -> SwitchableNetwork:
        """The switchable network, built when the first score is asked for."""
        network = self._build()
        self._weights_of[None] = network.model.get_weights()
        return network

    @functools.cached_property
    def _kernels(self) -> Any:
        return _compiled_kernels(self._network)

    def _weights(self, seed: int | None) -> list[np.ndarray]:
        """Returns weights for the switchable network: the model's own, or initial ones."""
        if seed not in self._weights_of:
            with _random_state(int(seed)):  # type: ignore[arg-type]
                self._weights_of[seed] = self._network.initial_weights()
        return self._weights_of[seed]


def log_determinant(kernel: np.ndarray) -> float:
    """Returns log |det K| of a positive semidefinite kernel in float64.

    `numpy.linalg.slogdet` gives finite garbage for a singular K, so rank and sign are checked on the eigenvalues.

    Args:
      kernel: Symmetric array of shape (batch, batch).

    Raises:
      InputError: K does not have full rank: images that the network cannot tell apart, or more images than its codes
        have dimensions.
    """
    values = np.linalg.eigvalsh(kernel)
    floor = values[-1] * len(kernel) * np.finfo(np.float64).eps * 8
    rank = int((values > floor).sum())
    if rank < len(kernel):
        raise InputError(
            f"Expected images that the network tells apart. Received: a kernel of rank {rank} for {len(kernel)} "
            "images, so NWOT is not defined. Use fewer images, or images that differ more."
        )
    return float(np.log(values).sum())


def _compiled_kernels(network: SwitchableNetwork) -> Any:
    """Returns a function images -> (kernel of every site's call: (calls, batch, batch), whether all was finite)."""

    def kernels(images: Any) -> tuple[Any, Any]:
        made, finite = [], []
        for tensor in network.inputs_of_sites(images):
            flat = keras.ops.reshape(tensor, (tensor.shape[0], -1))
            finite.append(keras.ops.all(keras.ops.isfinite(flat)))
            # With codes written as +1 and -1, two images agree in (length + inner product) / 2 places.
            signs = keras.ops.where(flat > 0, 1.0, -1.0)
            made.append((keras.ops.matmul(signs, keras.ops.transpose(signs)) + flat.shape[1]) / 2)
        return keras.ops.stack(made), keras.ops.all(keras.ops.stack(finite))

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(kernels, autograph=False)
    return kernels  # The choices are variables, which jax.jit would freeze: other backends run eagerly.


def _check_images(model: keras.Model, images: np.ndarray) -> None:
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


@contextlib.contextmanager
def _random_state(seed: int) -> Iterator[None]:
    """Seeds every generator of Keras's initializers; leaves Python's and NumPy's as they were."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
