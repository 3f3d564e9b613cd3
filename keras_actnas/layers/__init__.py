"""Keras layers."""

from keras_actnas.layers.named import activation_function, activation_layer

__all__ = ["activation_function", "activation_layer"]
