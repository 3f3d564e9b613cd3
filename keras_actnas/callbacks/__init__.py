"""Training schedules as Keras callbacks."""

from keras_actnas.callbacks.afrb_scheduler import AFRBScheduler
from keras_actnas.callbacks.pea_scheduler import PEAScheduler

__all__ = ["AFRBScheduler", "PEAScheduler"]
