"""What the study is about: each network that is trained, at any resolution, with the images that it is trained on."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable, Mapping

import keras
import numpy as np
import study_data
from networks import CLASSIFIERS
from train import Trainer, load

from keras_actnas.core import Assignment, InputError
from keras_actnas.surgery import current_assignment

RECIPES = {
    "residual": {"images": 20_000, "batch": 100, "rate": 0.1, "epochs": 12},
    "mobilenet": {"images": 40_000, "batch": 50, "rate": 0.05, "epochs": 2},
}
"""How each classifier was trained in the study, which the network for proxies that want a trained one is, too."""

DETECTOR_RECIPE = {
    "batch": 32, "weight_decay": 0.05, "average": 100, "before": 5, "before_rate": 0.012, "pause": "",
}  # fmt: skip
"""The same of the detector, by the flags of its trainer."""

HELD_OUT = 0.2
"""Share of the detector's training images that a search asks with; none of those that the study tests on."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network of the study.

    Attributes:
      name: What files about it are called.
      size: Height and width of its images in the training, pixels.
      others: Other resolutions to score it at.
      build: Takes a size; returns the network with new weights.
      images: All its training images, as it sees them, shape (count, size, size, channels).
      search: Settings of a search that fine-tunes, as keyword arguments. It holds out the last of the images.
      tuned: Returns the network that such a search goes on from, which has not seen those that are held out.
      train: Returns the network as the study's training of seed 0 leaves it.
      reference: Its own activations, with the sites in the order in which the study counts them.
    """

    name: str
    size: int
    others: tuple[int, ...]
    build: Callable[[int], keras.Model]
    images: np.ndarray
    search: Mapping[str, object]
    tuned: Callable[[], keras.Model]
    train: Callable[[], keras.Model]
    reference: Assignment

    def batch(self, count: int, number: int = 0, size: int | None = None) -> np.ndarray:
        """Returns a batch of training images, scaled bilinearly where another size is asked for.

        Args:
          count: Images in it.
          number: Which of the batches of so many images, none of which share any.
          size: Height and width, pixels; None for those of the training.
        """
        images = self.images[number * count : (number + 1) * count]
        if size in (None, self.size):
            return images
        scaled = keras.ops.image.resize(images, (size, size), interpolation="bilinear", antialias=True)
        return keras.ops.convert_to_numpy(scaled)


def classifier_subject(name: str, data: str | None) -> Subject:
    """Returns a classifier with the images of Fashion-MNIST; see `load` for `data`."""
    recipe = RECIPES[name]
    found, network = load(data, recipe["images"]), CLASSIFIERS[name]

    def build(size: int) -> keras.Model:
        return network((size, size, 1))

    def train(held_out: int = 0) -> keras.Model:
        test, count = (found.test_images, found.test_labels), len(found.train_images) - held_out
        trainer = Trainer(network, found.train_images[:count], found.train_labels[:count], test, recipe["batch"])
        trainer.train(trainer.reference, 0, recipe["epochs"], recipe["rate"])
        return trainer.reference_model()

    images, reference = found.train_images, current_assignment(build(28))
    study_data.labelled = images, found.train_labels
    search = {"train_data": f"{study_data.__name__}:load"}
    tuned = functools.partial(train, study_data.HELD_OUT)
    return Subject(name, 28, (20, 40), build, images, search, tuned, train, reference)


def detector_subject(data: str | None) -> Subject:
    """Returns the small YOLO with the images of its data set, of which `data` is the data.yaml."""
    # Torch and Ultralytics are for this one alone.
    from detection_images import hold_out, load_images
    from train_detector import NETWORK
    from train_detector import Trainer as DetectorTrainer

    from keras_actnas.integrations import current_torch_assignment, from_ultralytics
    from keras_actnas.integrations.exchange.description import build_network, read_description

    if data is None:
        raise InputError("Expected the data.yaml of the detector's data set (--data). Received: none.")
    found = load_images(data, "train", 64, 1024)
    images = found.pixels.permute(0, 2, 3, 1).numpy().astype("float32") / 255

    def build(size: int) -> keras.Model:
        return from_ultralytics(str(NETWORK), (size, size, 3), len(found.names))

    def train(share: float = 1.0) -> keras.Model:
        every = load_images(data, "train", 64, 10_000)
        every = every[: int(share * len(every))]
        trained = DetectorTrainer(every, every, argparse.Namespace(**DETECTOR_RECIPE)).start(0)
        return from_ultralytics(trained.eval(), (64, 64, 3))

    reference = current_torch_assignment(build_network(read_description(NETWORK), len(found.names)))
    search = {"train_data": str(hold_out(data, HELD_OUT))}
    tuned = functools.partial(train, 1 - HELD_OUT)
    return Subject("detector", 64, (32, 96), build, images, search, tuned, train, reference)


SUBJECTS = {
    **{name: functools.partial(classifier_subject, name) for name in CLASSIFIERS},
    "detector": detector_subject,
}
"""Name of a network -> function that returns it, given where its data are."""
