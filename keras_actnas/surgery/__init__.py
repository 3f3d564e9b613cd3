"""Rewrites of a Keras model: finding, replacing and separating activations, PEA and ACON, fixing the batch size."""

from keras_actnas.surgery.acon import to_acon
from keras_actnas.surgery.afrb import collapse_afrb, linear_blocks, rounding_error
from keras_actnas.surgery.batch import set_batch_size
from keras_actnas.surgery.fold import fold_acon
from keras_actnas.surgery.linear_chain import LinearConvolution, compose_convolutions
from keras_actnas.surgery.pea import strip_pea, to_pea
from keras_actnas.surgery.replace import replace_activations
from keras_actnas.surgery.restructure import restructure_linear
from keras_actnas.surgery.separate import separate_activations
from keras_actnas.surgery.sites import SWAPPABLE, activation_sites, current_assignment

__all__ = [
    "SWAPPABLE",
    "LinearConvolution",
    "activation_sites",
    "collapse_afrb",
    "compose_convolutions",
    "current_assignment",
    "fold_acon",
    "linear_blocks",
    "replace_activations",
    "restructure_linear",
    "rounding_error",
    "separate_activations",
    "set_batch_size",
    "strip_pea",
    "to_acon",
    "to_pea",
]
