"""Activations by name: layer and function agree with the NumPy curve, and layers are Keras's own."""

import keras
import numpy as np
import pytest

from keras_actnas.core import KNOWN, InputError
from keras_actnas.core.curves import curve
from keras_actnas.layers import activation_function, activation_layer

X = np.linspace(-8, 8, 401).astype("float32").reshape(1, 401, 1, 1)
WITHOUT_WEIGHTS = sorted({*KNOWN, "leaky_relu(0.3)", "Swish", "hard_silu", "linear"} - {"prelu"})


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_layer_and_function_are_the_curve(name):
    expected = curve(name)(X.astype(np.float64))
    np.testing.assert_allclose(np.asarray(activation_layer(name)(X)), expected, atol=2e-5)
    np.testing.assert_allclose(np.asarray(activation_function(name)(X)), expected, atol=2e-5)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_layers_are_keras_s_own_and_come_back_from_a_file(name, tmp_path):
    layer = activation_layer(name, name="act", trainable=False)
    assert layer.name == "act" and layer.trainable is False
    assert type(layer).__module__.startswith("keras.")
    inputs = keras.Input((4, 5, 3))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "net.keras")
    image = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype("float32")
    again = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(np.asarray(again(image)), np.asarray(model(image)))


@pytest.mark.parametrize(
    ("rank", "layout", "shape", "slopes"),
    [
        (4, "channels_last", (4, 5, 3), (1, 1, 3)),
        (4, "channels_first", (3, 4, 5), (3, 1, 1)),
        (3, "channels_last", (7, 3), (1, 3)),
        (2, "channels_last", (3,), (3,)),
        (5, "channels_last", (2, 4, 5, 3), (1, 1, 1, 3)),
    ],
)
def test_a_prelu_has_a_slope_a_channel(rank, layout, shape, slopes):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(layout)
    try:
        layer = activation_layer("prelu", rank)
    finally:
        keras.config.set_image_data_format(before)
    outputs = layer(-np.ones((2, *shape), "float32"))
    assert tuple(layer.alpha.shape) == slopes
    np.testing.assert_allclose(keras.ops.convert_to_numpy(outputs), -0.25)


def test_prelu_is_no_function():
    with pytest.raises(InputError, match="without weights. Received: 'prelu'"):
        activation_function("prelu")


@pytest.mark.parametrize("make", [activation_layer, activation_function])
def test_unknown_names(make):
    with pytest.raises(InputError, match="Did you mean 'relu'"):
        make("rleu")


def test_dtype_policies_reach_the_layer():
    for name in ("silu", "leaky_relu", "prelu"):
        assert activation_layer(name, dtype="mixed_float16").compute_dtype == "float16"
