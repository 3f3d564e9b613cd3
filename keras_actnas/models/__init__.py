"""Networks with named activation sites: Keras models that take an assignment."""

from keras_actnas.models.convnext import RANI, ConvNeXt
from keras_actnas.models.convnext_config import ConvNeXtConfig
from keras_actnas.models.efficientnet_lite import EfficientNetLiteB0
from keras_actnas.models.ran_e import RANE, RANESuperNet
from keras_actnas.models.ran_e_blocks import Block, load_blocks, save_blocks
from keras_actnas.models.repvgg import RepVGGA0
from keras_actnas.models.resnet import ResNet18
from keras_actnas.models.yolo import YOLO
from keras_actnas.models.yolo_families import YOLO_NAMES

__all__ = [
    "RANI",
    "YOLO",
    "YOLO_NAMES",
    "ConvNeXt",
    "ConvNeXtConfig",
    "EfficientNetLiteB0",
    "RANE",
    "RANESuperNet",
    "RepVGGA0",
    "ResNet18",
    "Block",
    "load_blocks",
    "save_blocks",
]
