"""NWOT: a score of an untrained network from how differently it codes the images of one batch.

Mellor et al., "Neural Architecture Search without Training" (2021), as the authors of ActNAS use it (section 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.search.proxies.network_proxy import NetworkProxy
from keras_actnas.search.proxies.segments import SegmentedNetwork
from keras_actnas.search.switchable import SwitchableNetwork


class NWOTScorer(NetworkProxy):
    """Scores assignments of one model on one batch of images.

    Every site codes an image by the signs of the activation's input: c(x) = [input > 0]. The codes of two images agree
    in K_ij places, summed over all sites; the score is log |det K|. Higher means that the images are told apart better.

    Of an assignment that begins like the one before, only what lies behind the first difference is computed. See
    `NetworkProxy` for the arguments; the paper's authors take batch_norm="inference".
    """

    metric = "nwot"

    def _compile(self, network: SwitchableNetwork) -> SegmentedNetwork:
        return SegmentedNetwork(network, _kernels)

    def score(self, assignment: Mapping[str, str], seed: int | None = None) -> float:
        """Returns the NWOT score of an assignment; sites that it does not name keep the reference's activation.

        Args:
          assignment: Site -> activation.
          seed: Seed of the initial weights; None scores the weights that the model has.

        Raises:
          InputError: An unknown site or activation, NaN in the network, or a kernel without full rank.
        """
        segments: SegmentedNetwork = self._seeded.prepare(assignment, seed)
        choice = list(self.reference.with_swaps(assignment).values())
        results = [result for result in segments.run(self._images, choice, seed) if result]
        if not all(bool(finite) for _, finite in results):
            raise InputError(
                "Expected finite values at every activation. Received: NaN or infinity; check the model's weights and "
                "the range of the images (`--pixel_max`)."
            )
        kernels = [keras.ops.convert_to_numpy(made) for made, _ in results]
        return log_determinant(np.concatenate(kernels).sum(axis=0, dtype=np.float64))


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


def _kernels(inputs: list[Any]) -> tuple[Any, ...]:
    """Returns (kernel of every site's call: (calls, batch, batch), whether all was finite); nothing for no calls."""
    made, finite = [], []
    for tensor in inputs:
        flat = keras.ops.reshape(tensor, (tensor.shape[0], -1))
        finite.append(keras.ops.all(keras.ops.isfinite(flat)))
        # With codes written as +1 and -1, two images agree in (length + inner product) / 2 places.
        signs = keras.ops.where(flat > 0, 1.0, -1.0)
        made.append((keras.ops.matmul(signs, keras.ops.transpose(signs)) + flat.shape[1]) / 2)
    return (keras.ops.stack(made), keras.ops.all(keras.ops.stack(finite))) if made else ()
