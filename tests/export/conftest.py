from collections import Counter

import keras
import numpy as np
import pytest

from keras_actnas.export.schema import operator_name, read_model

L = keras.layers


def random_weights(model, seed=0, gain=1.3):
    """Gives a network random biases and BatchNorm values, and kernels that keep a signal's size."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            random_weights(layer, seed + 1, gain)
            continue
        for weight in layer.weights:
            if len(weight.shape) > 1:
                kernel = random.normal(0, 1, weight.shape)
                weight.assign(gain * kernel / np.sqrt(np.square(kernel).sum() / weight.shape[-1]))
            elif weight.name in ("gamma", "moving_variance"):
                weight.assign(random.uniform(0.5, 1.5, weight.shape))
            else:
                weight.assign(random.uniform(-1, 1, weight.shape))
    return model


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def wake():
    """Returns the function that gives a network weights under which its outputs depend on every activation."""
    return random_weights


@pytest.fixture(scope="session")
def operators():
    """Returns a function: bytes of a .tflite -> how often it holds each (operator, fused activation, version)."""

    def count(data):
        model = read_model(data)
        return Counter(
            (
                operator_name(model, operator),
                getattr(operator.builtinOptions, "fusedActivationFunction", 0),
                model.operatorCodes[operator.opcodeIndex].version,
            )
            for operator in model.subgraphs[0].operators
        )

    return count


@pytest.fixture(scope="session")
def run():
    """Returns a function: bytes of a .tflite, inputs -> its outputs."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")

    def invoke(data, *inputs):
        interpreter = litert.Interpreter(model_content=data)
        interpreter.allocate_tensors()
        for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]

    return invoke


@pytest.fixture(scope="session")
def assert_same_outputs():
    """Returns a function that compares two lists of outputs: within 1e-4, or that share of a signal larger than 1."""

    def compare(received, expected):
        assert [output.shape for output in received] == [output.shape for output in expected]
        for one, other in zip(received, expected, strict=True):
            assert 0.1 < np.std(other) < 1000, "a comparison of vanishing or exploding signals shows nothing"
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * max(1.0, np.std(other)))

    return compare


def conv_bn(x, filters, name, activation="relu", layer=None):
    layer = layer or L.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv")
    return L.Activation(activation, name=name)(L.BatchNormalization(name=f"{name}_bn")(layer(x)))


@pytest.fixture(scope="session")
def everything():
    """A network with an activation behind everything that may, or may not, fuse one; two of three outputs are sites."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3), name="image")
    x = conv_bn(inputs, 8, "after_conv")
    x = conv_bn(x, 8, "after_depthwise", "silu", L.DepthwiseConv2D(3, padding="same", use_bias=False, name="dw"))
    y = L.Conv2D(8, 3, padding="same", activation="relu6", name="argument")(x)
    x = L.ReLU(name="after_add")(L.Add()([x, y]))
    y = L.Conv2D(8, 1, activation=L.LeakyReLU(0.3), name="leaky_argument")(x)
    x = L.Activation("gelu", name="after_mul")(L.Multiply()([x, y]))
    x = L.Activation("hard_silu", name="after_max_pool")(L.MaxPooling2D(2, name="pool")(x))
    inner_inputs = keras.Input((8, 8, 8))
    inner = conv_bn(inner_inputs, 8, "nested")
    x = keras.Model(inner_inputs, L.Add()([inner, inner_inputs]), name="inner")(x)
    shared = L.LeakyReLU(0.1, name="shared")
    x = shared(L.Conv2D(8, 1, name="c1")(shared(L.Conv2D(8, 3, padding="same", name="c2")(x))))
    up = L.Activation("relu6", name="after_resize")(L.Resizing(16, 16, "nearest", name="resize")(x))
    up = L.Conv2DTranspose(6, 3, padding="same", activation="relu", name="transposed")(up)
    up = L.ReLU(6, name="after_bare_transposed")(L.Conv2DTranspose(6, 1, use_bias=False, name="bare")(up))
    y = L.ReLU(name="after_avg_pool")(L.AveragePooling2D(2)(up))
    x = L.Activation("silu", name="after_concat")(L.Concatenate()([x, y]))
    x = L.ReLU(name="after_reshape")(L.Reshape((64, 14))(L.Conv2D(14, 1, name="c3")(x)))
    x = L.Dense(12, activation="relu", name="dense")(x)
    x = L.ReLU(name="after_another")(L.Activation("silu", name="before_another")(L.Dense(8, name="dense2")(x)))
    forked = L.Dense(8, name="forked")(x)
    outputs = {
        "last": L.Activation("relu6", name="at_output")(forked),
        "map": L.Conv2D(4, 1, activation="silu", name="map")(up),
        "plain": L.Dense(3, name="plain")(forked),
    }
    return random_weights(keras.Model(inputs, outputs, name="everything"))


@pytest.fixture(scope="session")
def image():
    return np.random.default_rng(7).normal(0, 1, (1, 16, 16, 3)).astype("float32")


@pytest.fixture(scope="session")
def calibration():
    return np.random.default_rng(8).normal(0, 1, (16, 16, 16, 3)).astype("float32")


@pytest.fixture(scope="session")
def editable(everything, tmp_path_factory):
    """The bytes of `everything` as an editable .tflite."""
    from keras_actnas.export import to_editable

    path = tmp_path_factory.mktemp("editable") / "everything.tflite"
    to_editable(everything, path)
    return path.read_bytes()
