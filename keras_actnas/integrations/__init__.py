"""Where networks come from and go to: Ultralytics, detection on images, quantization. Each part needs an extra."""

from keras_actnas.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ActNASTrainer": "keras_actnas.integrations.trainer",
        "AppliedAssignment": "keras_actnas.integrations.torch_sites",
        "FineTuned": "keras_actnas.integrations.finetuning",
        "apply_assignment": "keras_actnas.integrations.torch_sites",
        "current_torch_assignment": "keras_actnas.integrations.torch_sites",
        "finetune": "keras_actnas.integrations.finetuning",
        "from_ultralytics": "keras_actnas.integrations.exchange.to_keras",
        "resume_finetuning": "keras_actnas.integrations.finetuning",
        "torch_activation": "keras_actnas.integrations.torch_activations",
        "torch_activation_name": "keras_actnas.integrations.torch_activations",
        "to_ultralytics": "keras_actnas.integrations.exchange.to_ultralytics",
    },
)
