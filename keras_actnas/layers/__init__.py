"""Keras layers."""

from keras_actnas.layers.acon import ACON, ACONA, ACONB, ACONC
from keras_actnas.layers.afrb import AFRB
from keras_actnas.layers.exponential_kernel import ExponentialKernel
from keras_actnas.layers.folded_acon import FoldedACON
from keras_actnas.layers.layer_scale import LayerScale
from keras_actnas.layers.meta_acon import MetaACON
from keras_actnas.layers.named import activation_function, activation_layer
from keras_actnas.layers.partial_activation import PartialActivation
from keras_actnas.layers.pea import StochasticPEA, WeightedPEA
from keras_actnas.layers.restructured import RestructuredBlock

__all__ = [
    "ACON",
    "ACONA",
    "ACONB",
    "ACONC",
    "AFRB",
    "ExponentialKernel",
    "FoldedACON",
    "LayerScale",
    "MetaACON",
    "PartialActivation",
    "RestructuredBlock",
    "StochasticPEA",
    "WeightedPEA",
    "activation_function",
    "activation_layer",
]
