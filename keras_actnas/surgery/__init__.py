"""Rewrites of a Keras model: finding, replacing and separating activations, PEA and ACON, fixing the batch size."""

from keras_actnas.surgery.acon import to_acon
from keras_actnas.surgery.batch import set_batch_size
from keras_actnas.surgery.fold import fold_acon
from keras_actnas.surgery.pea import strip_pea, to_pea
from keras_actnas.surgery.replace import replace_activations
from keras_actnas.surgery.separate import separate_activations
from keras_actnas.surgery.sites import SWAPPABLE, activation_sites, current_assignment

__all__ = [
    "SWAPPABLE",
    "activation_sites",
    "current_assignment",
    "fold_acon",
    "replace_activations",
    "separate_activations",
    "set_batch_size",
    "strip_pea",
    "to_acon",
    "to_pea",
]
