"""Where networks come from and go to: Ultralytics, detection on images, quantization. Each part needs an extra."""

from keras_actnas.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "DetectionDataset": "keras_actnas.integrations.detection.dataset",
        "DetectionMetrics": "keras_actnas.integrations.detection.evaluation",
        "Detections": "keras_actnas.integrations.detection.suppression",
        "Detector": "keras_actnas.integrations.detection.detector",
        "Suppression": "keras_actnas.integrations.detection.suppression",
        "draw_detections": "keras_actnas.integrations.detection.drawing",
        "evaluate_detection": "keras_actnas.integrations.detection.evaluation",
        "read_dataset": "keras_actnas.integrations.detection.dataset",
        "read_photograph": "keras_actnas.integrations.detection.photographs",
    },
)
