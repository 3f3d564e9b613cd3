"""Keras layers."""

from keras_actnas.layers.acon import ACON, ACONA, ACONB, ACONC
from keras_actnas.layers.folded_acon import FoldedACON
from keras_actnas.layers.meta_acon import MetaACON
from keras_actnas.layers.named import activation_function, activation_layer
from keras_actnas.layers.pea import StochasticPEA, WeightedPEA

__all__ = [
    "ACON",
    "ACONA",
    "ACONB",
    "ACONC",
    "FoldedACON",
    "MetaACON",
    "StochasticPEA",
    "WeightedPEA",
    "activation_function",
    "activation_layer",
]
