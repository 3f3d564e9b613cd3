"""Writes frozen.keras and frozen.npz: a model with every layer, an input, and its output.

Run only when a new layer is added, never to fix a failing test: the files stand for those that users have saved.
"""

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np

from keras_actnas.layers import ACONA, ACONB, ACONC, MetaACON, StochasticPEA, WeightedPEA

L = keras.layers
HERE = Path(__file__).parent


def main() -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 3), name="image")
    x = L.Conv2D(8, 1, activation=ACONC(name="as_argument"), name="conv")(inputs)
    layers = [
        ACONA(name="acon_a"),
        ACONB(name="acon_b"),
        ACONC(name="acon_c", shared_axes=[1, 2], p1_regularizer="l2", beta_constraint="non_neg"),
        MetaACON(4, name="meta_channel"),
        MetaACON(granularity="layer", name="meta_layer"),
        MetaACON(granularity="pixel", name="meta_pixel"),
        WeightedPEA("gelu", name="weighted"),
        StochasticPEA("mish", seed=5, name="stochastic"),
    ]
    for layer in layers:
        x = layer(x)
    model = keras.Model(inputs, x, name="frozen")
    random = np.random.default_rng(0)
    image = random.normal(0, 1, (2, 4, 4, 3)).astype("float32")
    model(image)  # Builds the activation argument.
    for weight in model.weights:
        if weight.name not in ("alpha", "seed_generator_state"):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    model.get_layer("weighted").alpha = 0.25
    model.get_layer("stochastic").alpha = 0.75
    model.save(HERE / "frozen.keras")
    np.savez(HERE / "frozen.npz", image=image, output=np.asarray(model(image)))


if __name__ == "__main__":
    main()
