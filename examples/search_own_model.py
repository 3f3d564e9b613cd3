"""Searches the activations of a model of your own, from Python: what `keras-actnas search` does, step by step.

  python examples/search_own_model.py

Takes some seconds. The model here is a small untrained classifier; yours is whatever Keras model you have.
"""

import sys

import keras

from keras_actnas.core import Constraint
from keras_actnas.report import proposals_table, verdict
from keras_actnas.search import Search, SearchSettings
from keras_actnas.surgery import activation_sites


def small_classifier() -> keras.Model:
    """Returns a small convolutional network full of SiLU."""
    inputs = x = keras.Input((96, 96, 3))
    for number, filters in enumerate((16, 32, 64, 64)):
        x = keras.layers.Conv2D(filters, 3, strides=2 if number < 3 else 1, padding="same", name=f"conv{number}")(x)
        x = keras.layers.BatchNormalization(name=f"bn{number}")(x)
        x = keras.layers.Activation("silu", name=f"act{number}")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="head")(x), name="small_classifier")


def main(out: str = "runs/small_classifier") -> None:
    """Runs the search and prints what it found."""
    keras.utils.set_random_seed(0)
    model = small_classifier()
    for site in activation_sites(model):
        print(f"{site.name}: {site.activation}, output {site.shape}")
    settings = SearchSettings(
        activations=("relu", "silu", "hard_swish"),
        minimize="latency",
        constraints=(Constraint.parse("nwot>=reference-0.5"),),
        top_k=3,
        min_distance=1,
        networks=30,
        minutes=0.2,
        seeds=2,
    )
    result = Search(model, out, settings, say=print).run()
    units = {metric: table.unit for metric, table in result.tables.items()}
    print(proposals_table(result.reference, result.proposals, result.baselines, units, settings.constraints))
    print(verdict(result.reference, result.best, "latency", units["latency"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
