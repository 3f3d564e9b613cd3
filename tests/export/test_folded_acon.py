"""Folded ACON in a .tflite: the operators that it was folded for, and the same numbers."""

import keras
import numpy as np
import pytest

from keras_actnas.export import to_tflite
from keras_actnas.layers import ACONA, ACONC
from keras_actnas.surgery import fold_acon, to_acon

L = keras.layers
SILU = {"LOGISTIC": 1, "MUL": 1}


@pytest.fixture
def network():
    """Returns a network with one SiLU between two convolutions, and images for it."""
    layers = [L.Conv2D(6, 3), L.Activation("silu", name="act"), L.Conv2D(4, 1)]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers])


def spread(model):
    """Gives an ACON layer a different number for each channel."""
    random = np.random.default_rng(0)
    for weight in model.get_layer("act").weights:
        weight.assign(random.uniform(0.5, 1.5, weight.shape) - (weight.name == "p2"))
    return model


@pytest.mark.parametrize(
    ("variant", "form", "around"),
    [
        (ACONA, "multiply", SILU),
        (ACONA, "depthwise", SILU),
        (ACONC, "multiply", {**SILU, "ADD": 1}),
        (ACONC, "depthwise", {**SILU, "DEPTHWISE_CONV_2D": 1}),
    ],
)
def test_what_a_folded_activation_consists_of(variant, form, around, network, run, tmp_path):
    acon = spread(to_acon(network, variant))
    report = to_tflite(fold_acon(acon, form), tmp_path / "net.tflite")
    assert report.operators == {"CONV_2D": 2, **around}
    image = np.random.default_rng(1).normal(size=(1, 8, 8, 3)).astype("float32")
    (output,) = run((tmp_path / "net.tflite").read_bytes(), image)
    np.testing.assert_allclose(output, acon(image), atol=1e-5)


def test_at_an_addition_one_operator_more_stays(network, run, tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = L.Activation("silu", name="act")(L.Conv2D(3, 3, padding="same")(inputs))
    acon = spread(to_acon(keras.Model(inputs, L.Conv2D(2, 1)(x + inputs)), ACONA))
    report = to_tflite(fold_acon(acon), tmp_path / "net.tflite")
    assert report.operators == {"CONV_2D": 2, "LOGISTIC": 1, "MUL": 2, "ADD": 1}
