"""Quantization-aware training with the TensorFlow Model Optimization toolkit, from Keras 3 to an int8 .tflite."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_actnas.core.errors import InputError
from keras_actnas.export import ConversionReport
from keras_actnas.export.convert import run_converter, write_checked
from keras_actnas.integrations.lone_norms import replace_lone_norms
from keras_actnas.integrations.qat_sites import name_sites
from keras_actnas.integrations.tf_keras_graph import layers_of_sites, to_tf_keras
from keras_actnas.integrations.tf_keras_modules import tf_keras, tfmot
from keras_actnas.surgery import activation_sites

_NO_ROUNDING = "tfmot refuses it (it does not know where TFLite rounds), and TFLite computes it as"
REFUSED = {
    "elu": "TFLite has no int8 ELU and would compute it in float32, between a DEQUANTIZE and a QUANTIZE",
    "selu": f"{_NO_ROUNDING} six int8 operators, with a rounding behind each",
    "mish": f"{_NO_ROUNDING} five int8 operators, with a rounding behind each",
    "softplus": f"{_NO_ROUNDING} three int8 operators, with a rounding behind each",
    "prelu": "tfmot has no quantization for its slopes",
}
"""Activation -> why it cannot be trained for int8."""


def quantize_aware(model: keras.Model, images: np.ndarray | Sequence[np.ndarray]) -> Any:
    """Returns a model that computes as its int8 .tflite will, ready to be trained on.

    The deployed network is rebuilt in Keras 2, which is what tfmot knows, with its weights, and quantization is
    emulated as TFLite does it (Jacob et al., "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference", 2018, section 3): BatchNorm folded, a ReLU taken up by the operator before it,
    8-bit weights for each channel, one range for each activation tensor. All ranges start at those of `images`, so that
    the model is a quantized one before its first step.

    Compile and fit the result as any model, with losses and optimizers of `tf_keras` and about a hundredth of the
    first training's learning rate; save it inside of `tfmot.quantization.keras.quantize_scope()`; then
    `qat_to_tflite`. `benchmarks/qat.py` is an example.

    Args:
      model: A trained functional or Sequential model of plain activations. Take PEA, ACON and AFRB layers out first
        with `surgery.strip_pea`, `surgery.fold_acon` and `surgery.collapse_afrb`.
      images: Array of shape (images, height, width, channels), preprocessed as the model expects; a list of such
        arrays for a model with several inputs.

    Returns:
      A `tf_keras.Model`, not compiled, of float32 inputs and outputs.

    Raises:
      InputError: A layer or an activation cannot be quantized, or the images do not fit. Nothing has been trained then.
      MissingDependencyError: tfmot or `tf_keras` is not installed.
    """
    _check_activations(model)
    arrays = _arrays(model, images)
    plain = replace_lone_norms(to_tf_keras(model))
    from keras_actnas.integrations import qat_configs
    from keras_actnas.integrations.qat_ranges import calibrate

    _check_layers(plain, qat_configs.is_known)
    toolkit = tfmot().quantization.keras
    # Annotating gives up the layers that it is given, and the plain model is needed afterwards.
    copy = tf_keras().models.clone_model(plain)
    copy.set_weights(plain.get_weights())
    annotated = tf_keras().models.clone_model(
        copy, clone_function=lambda layer: toolkit.quantize_annotate_layer(layer, qat_configs.config_of(layer))
    )
    with toolkit.quantize_scope():
        quantized = toolkit.quantize_apply(annotated)
    calibrate(quantized, plain, arrays)
    return quantized


def qat_to_tflite(model: Any, path: str | os.PathLike[str], original: keras.Model | None = None) -> ConversionReport:
    """Converts a model after quantization-aware training to an int8 .tflite, and checks the result.

    Args:
      model: What `quantize_aware` returned, trained or not.
      path: Where the .tflite goes. Its inputs and outputs are int8, its batch is 1.
      original: The Keras 3 model that `quantize_aware` was given. With it the file lists its sites, so that
        `quantization_report` can compare it with that model's float32 file from `export.to_named_tflite`.

    Returns:
      What the file holds; a warning names operators that stayed in float32, of which there should be none.

    Raises:
      InputError: The model is another one, or comes from another original, the conversion goes wrong, or the file
        cannot be written.
    """
    legacy = tf_keras()
    if not isinstance(model, legacy.Model) or not any(hasattr(layer, "_weight_vars") for layer in model.layers):
        raise InputError(f"Expected a model that quantize_aware returned. Received: {type(model).__name__}.")
    layers = None if original is None else layers_of_sites(original)
    quantized = {layer.name for layer in model.layers}
    missing = [site for site, names in (layers or {}).items() if not quantized.issuperset(f"quant_{n}" for n in names)]
    if missing:
        raise InputError(
            f"Expected the original of {model.name!r}. Received: {original.name!r}, whose sites "  # type: ignore[union-attr]
            f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''} are not in it."
        )
    import tensorflow as tf

    inputs = [legacy.Input(batch_shape=(1, *tensor.shape[1:]), name=name)
              for tensor, name in zip(model.inputs, model.input_names, strict=True)]  # fmt: skip
    fixed = legacy.Model(inputs, model(inputs if len(inputs) > 1 else inputs[0]), name=model.name)
    converter = tf.lite.TFLiteConverter.from_keras_model(fixed)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    data = run_converter(converter, model.name)
    return write_checked(data if layers is None else name_sites(data, model, layers), path, "int8")


def _check_activations(model: keras.Model) -> None:
    """Raises `InputError` when a site has an activation that cannot be trained for int8."""
    refused = [site for site in activation_sites(model) if site.activation in REFUSED]
    if refused:
        reasons = "; ".join(f"{name}: {REFUSED[name]}" for name in dict.fromkeys(site.activation for site in refused))
        raise InputError(
            "Expected activations that can be trained for int8, such as relu, relu6, silu, hard_swish, leaky_relu or "
            f"gelu. Received: {refused[0].activation!r} at {refused[0].name!r} ({len(refused)} such sites; {reasons}). "
            "Exchange them with `surgery.replace_activations` and train the network first."
        )


def _check_layers(plain: Any, is_known: Any) -> None:
    unknown = [layer for layer in plain.layers if not is_known(layer)]
    if unknown:
        named = ", ".join(f"{layer.name!r} of type {type(layer).__name__}" for layer in unknown[:8])
        raise InputError(f"Expected layers that tfmot can quantize. Received: {named}.")
    for layer in plain.layers:
        if len(layer.inbound_nodes) > 1:
            raise InputError(
                "Expected layers with weights that are called once, as tfmot does. "
                f"Received: {layer.name!r}, which is called {len(layer.inbound_nodes)} times."
            )


def _arrays(model: keras.Model, images: Any) -> list[np.ndarray]:
    arrays = list(images) if isinstance(images, (list, tuple)) else [images]
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if [getattr(array, "shape", (0,))[1:] for array in arrays] != shapes or not len(arrays[0]):
        received = [getattr(array, "shape", type(array).__name__) for array in arrays]
        raise InputError(
            f"Expected images for the model's inputs, arrays of shape (images, ...) of {shapes}. Received: {received}."
        )
    arrays = [np.asarray(array, np.float32) for array in arrays]
    if not all(np.isfinite(array).all() for array in arrays):
        raise InputError("Expected images of finite numbers. Received: some with NaN or infinity.")
    return arrays
