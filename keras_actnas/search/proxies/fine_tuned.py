"""Fine-tuned score: the loss, on held-out data, of each network after a short fine-tuning of its own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from keras_actnas.search.proxies.labelled import LabelledProxy


class FineTuned(LabelledProxy):
    """Held-out loss of an assignment after a short training that goes on from the model's own weights; a `Proxy`.

    The network gets the assignment's activations and the model's weights, and is trained for the recipe's steps, with
    the same batches and learning rates for all assignments. Each score costs a training, and has a training's noise: a
    search fits its table to some tens of networks, and believes the table and not the single score. How well such a
    table follows accuracy is measured by benchmarks/proxy_fidelity (calibration_curve.py, propose_tuned.py).

    Args:
      model: A trained Keras model with one input of fixed size.
      recipe: What it is trained with.
      activations: What the sites can be switched to, besides the reference's own.
      batch_norm: "batch": moving statistics would lag behind a short training.

    Raises:
      InputError: The loss cannot be told, or does not fit the model and the data.
    """

    metric = "fine_tuned"
    fine_tuning = True

    def score(self, assignment: Mapping[str, str], seed: int | None = None) -> float:
        """Trains the assignment; returns its loss on the held-out data.

        Args:
          assignment: Site -> activation; sites that it does not name keep the reference's.
          seed: Seed of initial weights and of the order of the data, for a training from scratch; None starts from the
            weights that the model has.

        Raises:
          InputError: An unknown site or activation, or a training that diverges.
        """
        whole = self.reference.with_swaps(assignment)
        self._train(itertools.repeat(whole), seed)
        return self._held_out_loss(whole)
