r"""Trains every assignment of the study in a small YOLOv8 with several seeds; a killed run goes on where it was.

  python examples/detect_items/items.py --data FOLDER --train 10000 --val 2000 --size 64 --scales 48 96 \
    --known_photos --out items
  python benchmarks/proxy_fidelity/train_detector.py --data items/data.yaml --seeds 2 --out detector.jsonl
  python benchmarks/proxy_fidelity/train_detector.py --data items/data.yaml --seeds 3 --before 5 --before_rate 0.012 \
    --epochs 1 --rate 0.004 --out detector_tuned.jsonl

With --before, assignments go on from the reference network, which is trained first, once for each seed, or with
--before_seed once for all.

The network (`detector.yaml`), its loss and its matching of objects and cells are Ultralytics'; the loop is not
`YOLO.train()`, whose start and validations would take as long as a whole training takes here. All images are in memory,
and flipped at random. Assignments of one seed share initial weights, the order of the images, the flips and the
learning rate, so that they differ in nothing but activations. What is tested are the averaged weights (EMA), on images
that were not trained on: COCO's mAP, and the loss. It needs `pip install -e ".[ultralytics,detect]"`.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from command import run_command
from detection_images import DetectionImages, load_images
from study import first_seed, parser, recipe_of, run, waiting
from ultralytics.cfg import get_cfg
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.torch_utils import ModelEMA

from keras_actnas.core import Assignment
from keras_actnas.integrations import apply_assignment, current_torch_assignment
from keras_actnas.integrations.detection.evaluation import EVALUATION, average_precision
from keras_actnas.integrations.exchange.description import build_network, read_description

NETWORK = Path(__file__).with_name("detector.yaml")
WARMUP = 0.05
"""Share of the steps in which the learning rate rises: from the first step at full rate, training may diverge."""
_AGAIN = 1_000_000
"""Added to a seed for the order of the images after the reference's training, which is not to be that of before."""
RECIPE = ("size", "images", "tested", "epochs", "batch", "rate", "weight_decay", "average", "before", "before_rate")


class Trainer:
    """A network that is built and trained again and again, from the same start and on the same batches.

    Args:
      images: What is trained on.
      tested: What is tested on.
      options: The flags: epochs, batch, rate, weight_decay, average, pause.
    """

    def __init__(self, images: DetectionImages, tested: DetectionImages, options: argparse.Namespace) -> None:
        self._images, self._tested, self._options = images, tested, options
        self._truths = tested.boxes()
        self._trained: tuple[int | None, dict[str, torch.Tensor]] = (None, {})
        self._description = read_description(NETWORK)
        self.reference = current_torch_assignment(self._build(0))

    def train(self, assignment: Assignment, seed: int) -> dict[str, object]:
        """Trains from the seed's weights; returns what was tested, and the losses of training."""
        options = self._options
        network = self.start(first_seed(options, seed)) if options.before else self._build(seed)
        apply_assignment(network, assignment)
        order = torch.Generator().manual_seed(seed + _AGAIN * bool(options.before))
        averaged, losses = self._fit(network, order, options.epochs, options.rate)
        for trained in (network, averaged.ema):
            if current_torch_assignment(trained) != assignment:
                raise RuntimeError(f"The network does not hold its assignment after training: {assignment}.")
        return {**self._test(averaged.ema), "losses": losses}

    def _build(self, seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        network = build_network(self._description, len(self._images.names))
        network.args = get_cfg()  # What the parts of the loss weigh.
        return network.to(memory_format=torch.channels_last).train()

    def start(self, seed: int) -> torch.nn.Module:
        """Returns a copy of the reference as it was trained before, its averaged weights."""
        if self._trained[0] != seed:
            options, order = self._options, torch.Generator().manual_seed(seed)
            averaged, _ = self._fit(self._build(seed), order, options.before, options.before_rate or options.rate)
            self._trained = seed, averaged.ema.state_dict()
        network = self._build(seed)
        network.load_state_dict(self._trained[1])
        return network

    def _fit(
        self, network: torch.nn.Module, order: torch.Generator, epochs: int, rate: float
    ) -> tuple[ModelEMA, list[float]]:
        """Trains the network; returns the average of its weights, and the mean loss of each epoch."""
        options, measure = self._options, v8DetectionLoss(network)
        # The decay rises from 0 within as many steps as the average is of, so that the first weights do not stay in it.
        averaged = ModelEMA(network, 1 - 1 / options.average, tau=options.average)
        kernels = [weight for weight in network.parameters() if weight.ndim > 1]
        others = [weight for weight in network.parameters() if weight.ndim <= 1]
        groups = [{"params": kernels, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, rate, fused=True)
        steps = epochs * (len(self._images) // options.batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
        losses = []
        for _ in range(epochs):
            waiting(options.pause)
            found = []
            for batch in self._images.batches(options.batch, order):
                loss = measure(network(batch["img"]), batch)[0].sum() / options.batch
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
                optimizer.step()
                schedule.step()
                averaged.update(network)
                found.append(loss.item())
            losses.append(round(float(np.mean(found)), 5))
        return averaged, losses

    @torch.inference_mode()
    def _test(self, network: torch.nn.Module) -> dict[str, float]:
        """Returns mAP and the mean loss on the images that are not trained on."""
        measure, total, found = v8DetectionLoss(network), 0.0, []
        for batch in self._tested.batches(100):
            outputs = network(batch["img"])
            total += measure(outputs, batch)[0].sum().item()
            for output in outputs[0].permute(0, 2, 1).numpy():
                centre, half, probabilities = output[:, :2], output[:, 2:4] / 2, output[:, 4:]
                found.append(EVALUATION(np.concatenate([centre - half, centre + half], 1), probabilities))
        metrics = average_precision(self._truths, found, self._tested.names)
        return {
            "map50_95": round(metrics.map50_95, 6),
            "map50": round(metrics.map50, 6),
            "test_loss": round(total / len(self._tested), 6),
        }


def _rate(done: float) -> float:
    """Returns the learning rate, as a share of the highest: it rises, then falls along half a cosine."""
    if done < WARMUP:
        return done / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP)))


def main() -> None:
    """Trains what `--out` does not have yet, and appends a line of JSON for each training."""
    flags = parser(__doc__)
    flags.add_argument("--data", required=True, help="data.yaml of the data set")
    flags.add_argument("--size", type=int, default=64, help="pixels that the images are scaled to, a multiple of 32")
    flags.add_argument("--images", type=int, default=10_000, help="training images")
    flags.add_argument("--tested", type=int, default=2000, help="images to test on, of the split `val`")
    flags.add_argument("--epochs", type=int, default=5)
    flags.add_argument("--batch", type=int, default=32)
    flags.add_argument("--rate", type=float, default=0.012, help="highest learning rate")
    flags.add_argument("--weight_decay", type=float, default=0.05, help="of kernels, not of BatchNorm and biases")
    flags.add_argument("--average", type=float, default=100, help="steps that the averaged weights (EMA) are of")
    options = flags.parse_args()
    torch.set_num_threads(options.threads)
    images = load_images(options.data, "train", options.size, options.images)
    tested = load_images(options.data, "val", options.size, options.tested)
    recipe = recipe_of(options, RECIPE)
    recipe["data"] = f"{images.fingerprint}-{tested.fingerprint}"
    trainer = Trainer(images, tested, options)
    run(options, trainer.reference, recipe, trainer.train)


if __name__ == "__main__":
    run_command(main)
