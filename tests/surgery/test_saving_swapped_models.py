"""Swapped models are ordinary Keras models: they save, load without this package, and convert to TFLite."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_actnas import surgery

L = keras.layers
ACTIVATIONS = [
    "relu",
    "relu6",
    "silu",
    "hard_swish",
    "leaky_relu",
    "gelu",
    "identity",
    "elu",
    "selu",
    "mish",
    "softplus",
]
X = np.random.default_rng(0).normal(0, 2, (1, 8, 8, 3)).astype("float32")

# Keras 3.15 reads its own variables in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

LOAD = """
import sys, numpy, keras
model = keras.models.load_model(sys.argv[1])
numpy.save(sys.argv[3], model(numpy.load(sys.argv[2])))
assert not [name for name in sys.modules if name.startswith("keras_actnas")]
"""


def every_activation():
    """Returns a model that holds every activation as a layer and as an argument."""
    x = inputs = keras.Input((8, 8, 3), name="image")
    for index in range(len(ACTIVATIONS)):
        x = L.Conv2D(3, 1, activation="relu", name=f"conv{index}")(x)
        x = L.ReLU(name=f"act{index}")(x)
    model = keras.Model(inputs, x)
    wanted = {f"{kind}{index}": name for index, name in enumerate(ACTIVATIONS) for kind in ("conv", "act")}
    return surgery.replace_activations(model, wanted), wanted


def test_plain_keras_loads_a_swapped_model(tmp_path):
    model, wanted = every_activation()
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", X)
    arguments = [str(tmp_path / name) for name in ("model.keras", "x.npy", "y.npy")]
    subprocess.run([sys.executable, "-c", LOAD, *arguments], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), np.asarray(model(X)), atol=1e-6)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert dict(surgery.current_assignment(loaded, include=("identity",))) == wanted


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TFLite conversion is TensorFlow's")
def test_a_leaky_relu_argument_converts_to_tflite():
    import tensorflow as tf

    litert = pytest.importorskip("ai_edge_litert.interpreter")

    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, L.Conv2D(4, 3, activation="relu", name="stem")(inputs))
    new = surgery.set_batch_size(surgery.replace_activations(model, {"stem": "leaky_relu"}))
    interpreter = litert.Interpreter(model_content=tf.lite.TFLiteConverter.from_keras_model(new).convert())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], X)
    interpreter.invoke()
    outputs = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(outputs, np.asarray(new(X)), atol=1e-5)
    assert outputs.min() < 0
    assert "LEAKY_RELU" in {op["op_name"] for op in interpreter._get_ops_details()}
