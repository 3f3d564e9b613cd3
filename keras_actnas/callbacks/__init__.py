"""Training schedules as Keras callbacks."""

from keras_actnas.callbacks.pea_scheduler import PEAScheduler

__all__ = ["PEAScheduler"]
