"""Converted to TFLite the networks hold few, plain operators and compute the same."""

from collections import Counter

import keras
import numpy as np
import pytest

from keras_actnas.models import YOLO
from keras_actnas.models.yolo_attention import c2psa
from keras_actnas.models.yolo_blocks import Blocks, upsample
from keras_actnas.models.yolo_families import Row
from keras_actnas.models.yolo_heads import decode_maps

tf = pytest.importorskip("tensorflow")
litert = pytest.importorskip("ai_edge_litert.interpreter")

CONVOLUTION = {"CONV_2D", "LOGISTIC", "MUL"}


def convert(model):
    """Returns an interpreter of the converted model, and how often it holds each operator."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    interpreter = litert.Interpreter(model_content=converter.convert())
    # Before the tensors are allocated: that is when a delegate takes operators over.
    operators = Counter(operator["op_name"] for operator in interpreter._get_ops_details())
    interpreter.allocate_tensors()
    return interpreter, operators


def run(interpreter, values):
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()]


def assert_same(model, interpreter, values):
    expected = model(values)
    expected = expected if isinstance(expected, (list, tuple)) else [expected]
    outputs = {output.shape: output for output in run(interpreter, values)}
    for output in map(np.asarray, expected):
        scale = np.abs(output).max()
        np.testing.assert_allclose(outputs[output.shape], output, rtol=0, atol=1e-4 * scale)


def block_model(apply):
    images = keras.Input((8, 12, 16), batch_size=1)
    return keras.Model(images, apply(Blocks(lambda site: "silu"), images))


BLOCKS = {
    "stride 2": (lambda blocks, x: blocks.conv(x, "model.0", 8, 3, 2), CONVOLUTION | {"PAD"}),
    "depthwise": (lambda blocks, x: blocks.depthwise(x, "model.0"), {"DEPTHWISE_CONV_2D", "LOGISTIC", "MUL"}),
    "c3": (lambda blocks, x: blocks.c3(x, "model.0", Row("c3", 16)), CONVOLUTION | {"ADD", "CONCATENATION"}),
    "c2f": (
        lambda blocks, x: blocks.c2f(x, "model.0", Row("c2f", 16)),
        CONVOLUTION | {"ADD", "CONCATENATION", "SPLIT"},
    ),
    "c3k2": (
        lambda blocks, x: blocks.c3k2(x, "model.0", Row("c3k2", 16, nested=True)),
        CONVOLUTION | {"ADD", "CONCATENATION", "SPLIT"},
    ),
    "sppf": (
        lambda blocks, x: blocks.sppf(x, "model.0", Row("sppf", 16)),
        CONVOLUTION | {"CONCATENATION", "MAX_POOL_2D"},
    ),
    "upsample": (lambda blocks, x: upsample(x), {"RESIZE_NEAREST_NEIGHBOR"}),
    "c2psa": (
        lambda blocks, x: c2psa(blocks, x, "model.0", Row("c2psa", 256)),
        CONVOLUTION
        | {"ADD", "BATCH_MATMUL", "CONCATENATION", "DEPTHWISE_CONV_2D", "RESHAPE", "SOFTMAX", "SPLIT", "SPLIT_V"}
        | {"TRANSPOSE"},
    ),
}


@pytest.mark.parametrize("block", BLOCKS)
def test_blocks(block, fill):
    apply, expected = BLOCKS[block]
    model = fill(block_model(apply))
    interpreter, operators = convert(model)
    assert set(operators) == expected
    assert_same(model, interpreter, np.random.default_rng(0).random((1, 8, 12, 16), "float32"))


def test_upsampling_repeats_pixels():
    values = np.random.default_rng(0).random((1, 8, 12, 16), "float32")
    doubled = block_model(lambda blocks, x: upsample(x))(values)
    np.testing.assert_array_equal(doubled, values.repeat(2, axis=1).repeat(2, axis=2))


def test_decoding():
    # One input, since the converter does not take Keras 3 models with several.
    finest = keras.Input((8, 12, 64 + 5), batch_size=1)
    maps = [finest, *(keras.layers.AveragePooling2D(size)(finest) for size in (2, 4))]
    model = keras.Model(finest, decode_maps([keras.ops.split(x, [64], axis=-1) for x in maps], "model.22"))
    interpreter, operators = convert(model)
    assert operators == {
        **{"AVERAGE_POOL_2D": 2, "SPLIT_V": 3},  # of the test's own
        **{"RESHAPE": 7, "CONCATENATION": 3, "SOFTMAX": 1, "CONV_2D": 1},
        **{"SPLIT": 1, "ADD": 2, "SUB": 1, "MUL": 2, "LOGISTIC": 1},
    }
    assert_same(model, interpreter, np.random.default_rng(0).normal(size=(1, 8, 12, 69)).astype("float32"))


FAMILIES = {
    "yolov5n": {"CONV_2D": 75, "LOGISTIC": 69, "MUL": 69, "ADD": 7, "PAD": 6},
    "yolov8n": {"CONV_2D": 63, "LOGISTIC": 57, "MUL": 57, "ADD": 6, "PAD": 7, "SPLIT": 8},
    "yolo11n": {
        **{"CONV_2D": 80, "LOGISTIC": 77, "MUL": 78, "ADD": 14, "PAD": 7, "SPLIT": 9, "SPLIT_V": 1, "SOFTMAX": 1},
        **{"BATCH_MATMUL": 2, "DEPTHWISE_CONV_2D": 7, "RESHAPE": 3, "TRANSPOSE": 4},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_families(name, fill, images):
    model = fill(YOLO(name, input_shape=(64, 96, 3), batch_size=1))
    interpreter, operators = convert(model)
    concatenations = 20 if name == "yolo11n" else 16
    assert operators == {
        **FAMILIES[name],
        **{"CONCATENATION": concatenations, "MAX_POOL_2D": 3, "RESIZE_NEAREST_NEIGHBOR": 2},
    }
    assert_same(model, interpreter, images(64, 96))
