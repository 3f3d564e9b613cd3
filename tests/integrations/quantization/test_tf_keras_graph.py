"""Rebuilding a Keras 3 model in Keras 2: the same outputs, and one error that names what cannot be rebuilt."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actnas.core import InputError
from keras_actnas.integrations import to_tf_keras
from keras_actnas.integrations.tf_keras_modules import tfmot
from keras_actnas.layers import ACONC, AFRB, WeightedPEA
from keras_actnas.models import RANE, YOLO, ResNet18
from keras_actnas.surgery import fold_acon

L = keras.layers


def images(model, count=2):
    return [
        np.random.default_rng(0).normal(0, 1, (count, *tensor.shape[1:])).astype("float32") for tensor in model.inputs
    ]


def assert_same(model):
    rebuilt, values = to_tf_keras(model), images(model)
    values = values if len(values) > 1 else values[0]
    expected, received = (keras.tree.flatten(net(values, training=False)) for net in (model, rebuilt))
    assert len(expected) == len(received)
    for one, other in zip(expected, received, strict=True):
        assert np.std(one) > 0.005, "a comparison of vanishing signals shows nothing"
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5 * max(1.0, np.std(one)))
    return rebuilt


def kinds():
    """One network with a layer of nearly every kind."""
    inputs = keras.Input((16, 16, 4), name="image")
    x = L.Rescaling(0.5, offset=0.1)(inputs)
    x = L.SeparableConv2D(8, 3, padding="same", activation="hard_silu", name="separable")(L.ZeroPadding2D(1)(x))
    x = L.Conv2D(8, 3, groups=2, dilation_rate=2, activation=L.LeakyReLU(0.3), name="grouped")(x)
    inner_inputs = keras.Input((14, 14, 8))
    shared = L.Conv2D(8, 3, padding="same", name="shared")
    inner = L.Activation("gelu")(shared(L.PReLU(shared_axes=[1, 2], alpha_initializer="uniform")(shared(inner_inputs))))
    x = keras.Model(inner_inputs, inner, name="inner")(x)
    x = L.Cropping2D(1)(L.LayerNormalization()(x))
    y = L.Conv2DTranspose(6, 3, 2, padding="same", activation="selu", name="up")(L.AveragePooling2D(2)(x))
    first, second = keras.ops.split(L.Concatenate()([x, y]), [5], axis=-1)
    y = keras.ops.image.resize(L.MaxPooling2D(2)(second), (12, 12), interpolation="nearest")
    x = L.Concatenate()([first * 0.5, 1.0 - y, L.UpSampling2D(2)(L.Resizing(6, 6)(second))])
    x = L.Activation("hard_sigmoid")(L.Dropout(0.5)(x)) + keras.ops.sigmoid(x)
    x = L.Multiply()([x, L.Dense(23, activation="tanh")(L.GlobalAveragePooling2D(keepdims=True)(x))])
    x = L.ELU()(L.ReLU(max_value=3, negative_slope=0.1, threshold=0.2)(x))
    outputs = {"z": L.Dense(3, activation="softmax")(L.Flatten()(x)), "a": L.Permute((2, 1, 3))(x)}
    return keras.Model(inputs, outputs, name="kinds")


def test_many_kinds_of_layers(wake):
    model = wake(kinds())
    rebuilt = assert_same(model)
    assert sorted(rebuilt.output) == sorted(model.output) and rebuilt.name == model.name
    assert rebuilt.get_layer("grouped") and rebuilt.get_layer("shared")


def test_several_inputs_and_a_sequential_model(wake):
    first, second = keras.Input((8,), name="b"), keras.Input((8,), name="a")
    x = L.Dense(8, activation="silu")(first) - second
    assert_same(wake(keras.Model([first, second], [x, L.Dense(2)(x)])))
    assert_same(
        wake(keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(4, 3, activation="mish"), L.BatchNormalization()]))
    )


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: YOLO("yolo11n", num_classes=3, input_shape=(64, 64, 3)), marks=pytest.mark.slow),
        lambda: RANE("GT", input_shape=(32, 32, 3), num_classes=5, classifier_activation=None),
        lambda: ResNet18(input_shape=(32, 32, 3), num_classes=5),
    ],
)
def test_our_networks(wake, make):
    assert_same(wake(make(), gain=1.0))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small", "ResNet50"])
def test_networks_of_keras_applications(wake, name):
    assert_same(wake(getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3), classes=5), gain=1.0))


@pytest.mark.parametrize("form", ["multiply", "depthwise"])
def test_a_folded_acon(wake, form):
    inputs = keras.Input((8, 8, 3))
    x = L.MaxPooling2D(2)(ACONC(name="acon")(L.Conv2D(4, 3, name="conv")(inputs)))
    model = wake(keras.Model(inputs, L.Conv2D(4, 1)(x)))
    assert_same(fold_acon(model, form=form))


def test_everything_unknown_is_named_at_once():
    inputs = keras.Input((8, 8, 3))
    x = ACONC(name="acon")(inputs)
    x = WeightedPEA(name="pea")(x)
    x = AFRB(4, name="afrb")(x)
    x = L.Lambda(lambda value: value * 2, name="mine")(x)
    with pytest.raises(
        InputError, match="'acon' of type ACONC, 'pea' of type WeightedPEA, 'afrb' of type AFRB, 'mine'"
    ) as e:
        to_tf_keras(keras.Model(inputs, x))
    assert all(f"surgery.{name}" in str(e.value) for name in ("fold_acon", "strip_pea", "collapse_afrb"))


def test_a_layer_of_the_users_own_is_not_taken_for_its_base():
    class Scaled(L.Conv2D):
        def call(self, values):
            return 2 * super().call(values)

    inputs = keras.Input((8, 8, 3))
    with pytest.raises(InputError, match="'own' of type Scaled"):
        to_tf_keras(keras.Model(inputs, Scaled(4, 3, name="own")(inputs)))


def test_the_process_keeps_keras_3():
    tfmot()
    assert "TF_USE_LEGACY_KERAS" not in os.environ
    assert tf.keras.Model is keras.Model
