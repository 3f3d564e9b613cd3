"""keras-actnas: choose, train and deploy the activation functions of networks for small devices.

Sub-packages are imported when they are first used; `import keras_actnas` loads neither Keras nor TensorFlow.
"""

from keras_actnas.core.lazy import attach

__version__ = "0.1.0"

_PACKAGES = (
    "callbacks",
    "core",
    "devices",
    "export",
    "integrations",
    "layers",
    "models",
    "report",
    "search",
    "surgery",
    "tflite_bench",
)

__getattr__, __dir__, __all__ = attach(__name__, {name: f"{__name__}.{name}" for name in _PACKAGES})
