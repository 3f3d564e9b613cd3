"""Ultralytics to Keras, and back: networks with their weights and activations."""
