"""Keras to TFLite and ONNX: conversion, checks, and editing of a converted graph.

Importing this package, and editing with `TFLiteNetwork` or `ONNXNetwork`, needs neither Keras nor TensorFlow.
"""

from keras_actnas.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ConversionReport": "keras_actnas.export.checks",
        "GraphSummary": "keras_actnas.export.graph_summary",
        "ONNXNetwork": "keras_actnas.export.onnx_network",
        "PRECISIONS": "keras_actnas.export.convert",
        "SUPPORTED": "keras_actnas.export.activation_ops",
        "TFLiteNetwork": "keras_actnas.export.network",
        "check_conversion": "keras_actnas.export.checks",
        "peak_tensor_memory": "keras_actnas.export.tensor_memory",
        "summarize_graph": "keras_actnas.export.graph_summary",
        "to_editable": "keras_actnas.export.convert",
        "to_editable_onnx": "keras_actnas.export.onnx_convert",
        "to_named_tflite": "keras_actnas.export.named",
        "to_tflite": "keras_actnas.export.convert",
    },
)
