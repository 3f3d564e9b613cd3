import keras
import numpy as np
import pytest

from keras_actnas.export import TFLiteNetwork, to_editable

SIZE = 32


def small_model(name="small"):
    """Eight sites: separate layers, `activation=` arguments, one layer called twice; BatchNorm that is awake."""
    layers = keras.layers
    inputs = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")(inputs)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.Activation("silu", name="stem_act")(x)
    shared = layers.Activation("silu", name="shared_act")
    left = shared(layers.BatchNormalization(name="left_bn")(layers.Conv2D(8, 3, padding="same", name="left")(x)))
    right = shared(layers.DepthwiseConv2D(3, padding="same", name="right")(left))
    x = layers.Add(name="add")([left, right])
    x = layers.Conv2D(12, 3, strides=2, padding="same", activation="silu", name="argument")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    x = layers.Conv2D(12, 1, activation="relu", name="mix")(x)
    x = layers.Conv2D(12, 3, padding="same", name="deep")(x)
    x = layers.BatchNormalization(name="deep_bn")(x)
    x = layers.LeakyReLU(0.1, name="leaky")(x)
    x = layers.Conv2D(12, 3, strides=2, padding="same", activation="hard_silu", name="hard")(x)
    x = layers.Conv2D(12, 1, name="wide")(x)
    x = layers.ReLU(max_value=6, name="six")(x)
    x = layers.Conv2D(12, 1, activation="silu", name="last")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax", name="head")(x), name=name)
    random = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            shapes = [weight.shape for weight in layer.weights]
            layer.set_weights([random.uniform(0.5, 1.5, shape).astype("float32") for shape in shapes])
    return model


SITES = ("stem_act", "shared_act", "argument", "mix", "leaky", "hard", "six", "last")


@pytest.fixture(scope="session")
def model():
    keras.utils.set_random_seed(5)
    return small_model()


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).uniform(0, 1, (6, SIZE, SIZE, 3)).astype("float32")


@pytest.fixture(scope="session")
def tflite(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("tflite") / "small.tflite"
    to_editable(model, path)
    return path


@pytest.fixture
def network(tflite):
    return TFLiteNetwork(tflite)
