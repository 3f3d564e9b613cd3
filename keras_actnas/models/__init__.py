"""Networks with named activation sites: Keras models that take an assignment."""

from keras_actnas.models.yolo import YOLO
from keras_actnas.models.yolo_families import YOLO_NAMES

__all__ = ["YOLO", "YOLO_NAMES"]
