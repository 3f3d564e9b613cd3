"""One-shot score: the loss, on held-out data, of weights that were trained for all assignments together."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.files import write_atomically
from keras_actnas.search.paths import fair_paths
from keras_actnas.search.proxies.labelled import LabelledProxy


class OneShot(LabelledProxy):
    """Held-out loss of an assignment with the weights of a super-network; a `Proxy`, less is better.

    One network is trained, for each seed, with another assignment in every step. It is then asked for the loss of each
    assignment on the same data. See `SuperNetwork` and `fair_paths` for how, and for the papers. All scores together
    cost one training for each seed, and a pass over the held-out data each; how well they follow trained accuracy is
    measured by benchmarks/proxy_fidelity/supernet.py.

    Args:
      model: A Keras model with one input of fixed size.
      recipe: What the super-network is trained with.
      activations: What the sites can be switched to, besides the reference's own. The score depends on them, since the
        weights are trained for all.
      batch_norm: "batch": moving statistics would be those of no assignment.

    Raises:
      InputError: The loss cannot be told, or does not fit the model and the data.
    """

    metric = "one_shot"
    _trained_with: tuple[int | None] | None = None

    def score(self, assignment: Mapping[str, str], seed: int | None = None) -> float:
        """Returns the loss on the held-out data; trains the super-network first, where that was not done yet.

        Args:
          assignment: Site -> activation; sites that it does not name keep the reference's.
          seed: Seed of the initial weights, of the order of the data and of the assignments; None starts from the
            weights that the model has.

        Raises:
          InputError: An unknown site or activation, or a training that diverges.
        """
        if self._trained_with != (seed,):
            self._trained_with = None  # For as long as the weights are those of no seed.
            self._prepare(seed)
            self._trained_with = (seed,)
        return self._held_out_loss(assignment)

    def _prepare(self, seed: int | None) -> None:
        """Gives the super-network the trained weights of a seed: those that are kept, or new ones, which it keeps."""
        file = self._file(seed)
        if file is not None and file.exists():
            self._network.model.set_weights(_read(file))
            return
        recipe = self._recipe
        # Weights are shared from the first step: where the reference was trained first, the scores favoured it with one
        # optimizer and not with another (`tuned` in benchmarks/proxy_fidelity/supernet.py).
        paths = fair_paths(self.reference, self._activations, np.random.default_rng(seed or 0))
        steps: Iterable[Assignment] = list(itertools.islice(paths, recipe.steps))
        if recipe.progress:
            start = "own weights" if seed is None else f"seed {seed}"
            steps = recipe.progress(steps, f"{self.metric} (training, {start})")
        self._train(steps, seed)
        if file is not None:
            _write(file, self._network.model.get_weights())

    def _own_conditions(self) -> dict[str, Any]:
        return {"activations": list(self._activations)}

    def _file(self, seed: int | None) -> Path | None:
        if self._recipe.folder is None:
            return None
        key = json.dumps({**self.conditions, "seed": seed}, sort_keys=True)
        return self._recipe.folder / f"{self.metric}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"


def _write(file: Path, weights: Sequence[np.ndarray]) -> None:
    content = io.BytesIO()
    np.savez(content, *weights)
    write_atomically(file, content.getvalue())


def _read(file: Path) -> list[np.ndarray]:
    try:
        # From memory: NumPy leaves a damaged file open.
        arrays = np.load(io.BytesIO(file.read_bytes()))
        return [arrays[name] for name in arrays.files]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"Expected trained weights. Received: {file}, which is damaged ({error}). Remove it."
        ) from error
