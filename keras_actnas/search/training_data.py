"""Labelled data that a score trains on, and the part of it that the score is asked with."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from keras_actnas.core.errors import InputError

Batch = tuple[Any, Any]
"""Inputs and targets, each with a leading axis of images; targets may be nested, as a model's outputs are."""

BATCH_SIZE = 64
"""Images in a batch, where arrays or a folder leave it open."""

HELD_OUT, MOST_HELD_OUT = 0.2, 4096
"""Share, and number, of the images of arrays or a folder that are kept from training at most."""

_EXPECTED = "(inputs, targets) as arrays, or (train, validation), each a dataset of such batches"


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """Batches of one size to train on without end, and others to ask with.

    Attributes:
      batches: Takes a source of randomness; yields batches without end.
      held_out: Batches that are not trained on.
      digest: Hash of the data: of all, or of a dataset's held-out batches.
    """

    batches: Callable[[np.random.Generator], Iterator[Batch]]
    held_out: list[Batch]
    digest: str

    @property
    def batch_size(self) -> int:
        """Images in a batch."""
        return len(self.held_out[0][0])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.held_out[0][0].shape[1:])


def training_data(given: Any, batch_size: int = BATCH_SIZE) -> TrainingData:
    """Returns the data that a function, or a person, gives as a pair.

    Args:
      given: (inputs, targets) as arrays, of which a fifth is drawn to be held out; or (train, validation), each
        something that yields (inputs, targets) batches of one size whenever it is iterated over: a
        `keras.utils.PyDataset`, a `tf.data.Dataset`, a torch `DataLoader`. Batches of another size than the first, such
        as the last of an epoch, are left out.
      batch_size: Images in a batch of arrays.

    Raises:
      InputError: It is something else, its parts do not fit each other, or there is too little of it.
    """
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise InputError(f"Expected {_EXPECTED}. Received: {_described(given)}.")
    first, second = given
    if hasattr(first, "shape"):
        return _of_arrays(np.asarray(first), keras.tree.map_structure(np.asarray, second), batch_size)
    if not all(isinstance(part, (keras.utils.PyDataset, Iterable)) for part in given):
        raise InputError(f"Expected {_EXPECTED}. Received: {_described(given)}.")
    return _of_datasets(first, second)


def _of_arrays(inputs: np.ndarray, targets: Any, batch_size: int) -> TrainingData:
    parts = [inputs, *keras.tree.flatten(targets)]
    lengths = {len(part) if part.ndim else 0 for part in parts}
    if len(lengths) != 1:
        raise InputError(f"Expected as many targets as inputs. Received: shapes {[part.shape for part in parts]}.")
    if not np.isfinite(inputs).all():
        raise InputError("Expected finite inputs to train with. Received: NaN or infinity.")
    inputs = inputs.astype(np.float32, copy=False)
    count = len(inputs)
    held_out = min(MOST_HELD_OUT, int(count * HELD_OUT)) // batch_size * batch_size
    if not held_out:
        raise InputError(
            f"Expected at least {int(np.ceil(batch_size / HELD_OUT))} images with targets, of which {HELD_OUT:.0%} are "
            f"held out in batches of {batch_size}. Received: {count}."
        )
    # Drawn, since images often come sorted by class; always the same, so that no seed trains on what another asks.
    order = np.random.default_rng(0).permutation(count)

    def of(rows: np.ndarray) -> Batch:
        return inputs[rows], keras.tree.map_structure(lambda part: part[rows], targets)

    def batches(rng: np.random.Generator) -> Iterator[Batch]:
        kept = order[held_out:]
        while True:
            shuffled = rng.permutation(kept)[: len(kept) // batch_size * batch_size]
            for rows in shuffled.reshape(-1, batch_size):
                yield of(rows)

    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes())
    asked = [of(rows) for rows in order[:held_out].reshape(-1, batch_size)]
    return TrainingData(batches, asked, digest.hexdigest()[:16])


def _of_datasets(train: Any, validation: Any) -> TrainingData:
    size = len(_checked(next(_once(train), None))[0])
    asked = [_checked(batch) for batch in _once(validation)]
    asked = [batch for batch in asked if len(batch[0]) == size]
    if not asked:
        raise InputError(
            f"Expected validation batches of as many images as those to train with, {size}. Received: none such."
        )

    def batches(rng: np.random.Generator) -> Iterator[Batch]:
        del rng  # A dataset has an order of its own.
        while True:
            yield from (batch for batch in map(_checked, _once(train)) if len(batch[0]) == size)
            if isinstance(train, keras.utils.PyDataset):
                train.on_epoch_end()

    digest = hashlib.sha256()
    for batch in asked:
        for part in keras.tree.flatten(batch):
            digest.update(np.ascontiguousarray(part).tobytes())
    return TrainingData(batches, asked, digest.hexdigest()[:16])


def _once(dataset: Any) -> Iterator[Any]:
    """Returns one pass over a dataset; a `PyDataset` by its length, since it need not raise `IndexError`."""
    if isinstance(dataset, keras.utils.PyDataset):
        return (dataset[number] for number in range(len(dataset)))
    return iter(dataset)


def _checked(batch: Any) -> Batch:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2 or not hasattr(batch[0], "shape"):
        raise InputError(f"Expected a dataset that yields (inputs, targets). Received: {_described(batch)}.")
    inputs, targets = keras.tree.map_structure(np.asarray, tuple(batch))
    return inputs.astype(np.float32, copy=False), targets


def _described(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__} of {', '.join(type(part).__name__ for part in value) or 'nothing'}"
    return "nothing" if value is None else type(value).__name__
