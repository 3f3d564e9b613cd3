"""Where networks come from and go to: Ultralytics, detection on images, quantization. Each part needs an extra."""

from keras_actnas.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "qat_to_tflite": "keras_actnas.integrations.qat",
        "quantization_report": "keras_actnas.integrations.quantization_error",
        "quantize_aware": "keras_actnas.integrations.qat",
        "to_tf_keras": "keras_actnas.integrations.tf_keras_graph",
    },
)
