"""Rewrites of a Keras model: finding, replacing and separating activations, fixing the batch size."""

from keras_actnas.surgery.batch import set_batch_size
from keras_actnas.surgery.replace import replace_activations
from keras_actnas.surgery.separate import separate_activations
from keras_actnas.surgery.sites import SWAPPABLE, activation_sites, current_assignment

__all__ = [
    "SWAPPABLE",
    "activation_sites",
    "current_assignment",
    "replace_activations",
    "separate_activations",
    "set_batch_size",
]
