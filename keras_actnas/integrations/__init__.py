"""Where networks come from and go to: Ultralytics, detection on images, quantization. Each part needs an extra."""

from keras_actnas.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ActNASTrainer": "keras_actnas.integrations.trainer",
        "AppliedAssignment": "keras_actnas.integrations.torch_sites",
        "apply_assignment": "keras_actnas.integrations.torch_sites",
        "current_torch_assignment": "keras_actnas.integrations.torch_sites",
        "DetectionDataset": "keras_actnas.integrations.detection.dataset",
        "DetectionMetrics": "keras_actnas.integrations.detection.evaluation",
        "Detections": "keras_actnas.integrations.detection.suppression",
        "Detector": "keras_actnas.integrations.detection.detector",
        "draw_detections": "keras_actnas.integrations.detection.drawing",
        "evaluate_detection": "keras_actnas.integrations.detection.evaluation",
        "finetune": "keras_actnas.integrations.finetuning",
        "FineTuned": "keras_actnas.integrations.finetuning",
        "from_ultralytics": "keras_actnas.integrations.exchange.to_keras",
        "qat_to_tflite": "keras_actnas.integrations.qat",
        "quantization_report": "keras_actnas.integrations.quantization_error",
        "quantize_aware": "keras_actnas.integrations.qat",
        "read_dataset": "keras_actnas.integrations.detection.dataset",
        "read_photograph": "keras_actnas.integrations.detection.photographs",
        "resume_finetuning": "keras_actnas.integrations.finetuning",
        "Suppression": "keras_actnas.integrations.detection.suppression",
        "to_tf_keras": "keras_actnas.integrations.tf_keras_graph",
        "to_ultralytics": "keras_actnas.integrations.exchange.to_ultralytics",
        "torch_activation": "keras_actnas.integrations.torch_activations",
        "torch_activation_name": "keras_actnas.integrations.torch_activations",
    },
)
