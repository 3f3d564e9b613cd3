"""Restructuring: what a partial activation leaves linear becomes one convolution, and the outputs stay."""

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.layers import PartialActivation
from keras_actnas.models import ConvNeXt
from keras_actnas.surgery import restructure_linear

L = keras.layers
NETWORK = {"widths": (10, 21, 33), "depths": (2, 1, 2), "num_classes": 7, "linear_fraction": 0.4, "layer_scale": 0.5}


def shaken(model):
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(0.1, 0.3, weight.shape))
    return model


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def same(one, other):
    """Asserts that two models compute the same, the border of images included; compares with float64 rounding."""
    shape = tuple(size or 9 for size in one.input_shape[1:])
    x = np.random.default_rng(1).normal(size=(2, *shape)).astype("float32")
    expected, received = numpy(one(x)), numpy(other(x))
    assert np.std(expected) > 1e-2
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize("size", [(37, 46, 3), (16, 16, 1)])
def test_a_convnext_becomes_model_a(size):
    model = shaken(ConvNeXt(**NETWORK, input_shape=size, drop_path=0.1, restructured=False))
    restructured = restructure_linear(model)
    expected = ConvNeXt(**NETWORK, input_shape=size, drop_path=0.1)
    same(model, restructured)
    assert [type(layer) for layer in restructured.layers] == [type(layer) for layer in expected.layers]
    assert [layer.name for layer in restructured.layers] == [layer.name for layer in expected.layers]
    assert [weight.shape for weight in restructured.weights] == [weight.shape for weight in expected.weights]
    for one, other in zip(restructured.layers, expected.layers, strict=True):
        ours, theirs = one.get_config(), other.get_config()
        ours.pop("seed", None), theirs.pop("seed", None)
        assert ours == theirs
    expected.set_weights(restructured.get_weights())
    same(expected, model)
    assert any(isinstance(layer, PartialActivation) for layer in model.layers)


def chain(first, second, fraction=0.4, shape=(9, 8, 3), layout="channels_last"):
    act = PartialActivation("silu", fraction, layout, name="act")
    return shaken(keras.Sequential([keras.Input(shape), first, act, second]))


PLACES = {
    "1x1 convolutions": (lambda: L.Conv2D(10, 1), lambda: L.Conv2D(4, 1), (9, 8, 3)),
    "a large kernel, padded": (lambda: L.Conv2D(10, 5, padding="same"), lambda: L.Conv2D(4, 1), (9, 8, 3)),
    "strides and dilation": (lambda: L.Conv2D(10, (3, 2), strides=2), lambda: L.Dense(4), (9, 8, 3)),
    "dilation": (lambda: L.Conv2D(10, 3, dilation_rate=2), lambda: L.Dense(4), (9, 8, 3)),
    "dense layers": (lambda: L.Dense(10), lambda: L.Dense(4), (6,)),
    "dense layers on images": (lambda: L.Dense(10), lambda: L.Conv2D(4, 1), (5, 6, 3)),
    "no biases": (lambda: L.Conv2D(10, 1, use_bias=False), lambda: L.Conv2D(4, 1, use_bias=False), (9, 8, 3)),
    "a bias behind": (lambda: L.Conv2D(10, 1, use_bias=False), lambda: L.Conv2D(4, 1), (9, 8, 3)),
    "a bias in front": (lambda: L.Conv2D(10, 3, padding="same"), lambda: L.Conv2D(4, 1, use_bias=False), (9, 8, 3)),
    "sequences": (lambda: L.Conv1D(10, 3, padding="causal"), lambda: L.Conv1D(4, 1), (9, 3)),
    "volumes": (lambda: L.Conv3D(10, 2), lambda: L.Conv3D(4, 1), (4, 5, 6, 3)),
    "unknown sizes": (lambda: L.Conv2D(10, 3, padding="same"), lambda: L.Conv2D(4, 1), (None, None, 3)),
}


@pytest.mark.parametrize("name", PLACES)
def test_every_kind_of_layer(name):
    first, second, shape = PLACES[name]
    model = chain(first(), second(), shape=shape)
    restructured = restructure_linear(model)
    same(model, restructured)
    sizes = {layer.name: layer.output.shape[-1] for layer in restructured.layers[1:]}
    assert list(sizes.values()) == [6, 6, 4, 4, 4]  # Hidden channels, activation, both branches, their sum.
    assert {"act", "act-linear", "act-merge"} <= set(sizes)
    assert restructured.get_layer("act").activation is keras.activations.silu


def test_no_linear_channel_needs_no_branch():
    model = chain(L.Conv2D(10, 3), L.Conv2D(4, 1), fraction=0.01)
    restructured = restructure_linear(model)
    same(model, restructured)
    assert len(restructured.layers) == len(model.layers) + 1  # A functional model shows its input layer.


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow has no channels_first on CPUs")
def test_channels_first():
    options = {"data_format": "channels_first"}
    model = chain(L.Conv2D(10, 3, **options), L.Conv2D(4, 1, **options), shape=(3, 9, 8), layout="channels_first")
    same(model, restructure_linear(model))


def test_nested_and_shared_models():
    block = chain(L.Conv2D(10, 1), L.Conv2D(3, 1))
    inputs = keras.Input((9, 8, 3))
    model = keras.Model(inputs, block(block(inputs) + inputs))
    restructured = restructure_linear(model)
    same(model, restructured)
    assert restructured.count_params() == model.count_params() - 4 * (3 + 1 + 3) + 3 * 3 + 3


def test_policies_and_flags_are_kept():
    model = chain(L.Conv2D(10, 1, dtype="mixed_float16"), L.Conv2D(4, 1, trainable=False))
    restructured = restructure_linear(model)
    first, act, second, beside, merge = (
        restructured.get_layer(name)
        for name in (model.layers[0].name, "act", model.layers[2].name, "act-linear", "act-merge")
    )
    assert first.dtype_policy.name == beside.dtype_policy.name == "mixed_float16"
    assert (first.trainable, second.trainable) == (True, False)
    assert act.dtype_policy.name == merge.dtype_policy.name == "float32"


def test_the_original_is_left_alone_and_shares_nothing():
    model = chain(L.Conv2D(10, 1), L.Conv2D(4, 1))
    before = [np.array(weight) for weight in model.get_weights()]
    restructured = restructure_linear(model)
    for weight in restructured.weights:
        weight.assign(np.zeros(weight.shape))
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not {layer.name for layer in restructured.layers} & {"input"} and not restructured.compiled


def two_readers():
    inputs = keras.Input((8, 8, 3))
    hidden = L.Conv2D(10, 1, name="first")(inputs)
    x = PartialActivation(name="act", data_format="channels_last")(hidden)
    return keras.Model(inputs, [L.Conv2D(4, 1)(x), hidden])


def shared_layers():
    inputs = keras.Input((8, 8, 3))
    first, second = L.Conv2D(10, 1, name="first"), L.Conv2D(3, 1)
    act = PartialActivation(name="act", data_format="channels_last")
    return keras.Model(inputs, second(act(first(second(act(first(inputs)))))))


REFUSED = {
    "nothing to do": lambda: keras.Sequential([keras.Input((4,)), L.Dense(2)]),
    "no layer in front": lambda: keras.Sequential([keras.Input((4,)), PartialActivation(name="act"), L.Dense(2)]),
    "no layer behind": lambda: keras.Sequential([keras.Input((4,)), L.Dense(8), PartialActivation(name="act")]),
    "something between": lambda: keras.Sequential(
        [keras.Input((8, 8, 3)), L.Conv2D(8, 1), PartialActivation(name="act"), L.MaxPooling2D(), L.Conv2D(2, 1)]
    ),
    "an activation in front": lambda: chain(L.Dense(8, activation="relu"), L.Dense(2)),
    "an activation behind": lambda: chain(L.Dense(8), L.Dense(2, activation="relu")),
    "a large kernel behind": lambda: chain(L.Conv2D(8, 1), L.Conv2D(2, 3)),
    "a stride behind": lambda: chain(L.Conv2D(8, 1), L.Conv2D(2, 1, strides=2)),
    "groups in front": lambda: chain(L.Conv2D(8, 1, groups=2), L.Conv2D(2, 1), shape=(8, 8, 4)),
    "groups behind": lambda: chain(L.Conv2D(8, 1), L.Conv2D(2, 1, groups=2)),
    "a depthwise convolution": lambda: chain(L.DepthwiseConv2D(3), L.Conv2D(2, 1)),
    "two readers": two_readers,
    "shared layers": shared_layers,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    with pytest.raises(InputError, match="Expected .*PartialActivation.+Received: ") as caught:
        restructure_linear(REFUSED[name]())
    assert name == "nothing to do" or "'act' behind" in str(caught.value)


def test_a_subclassed_model_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(InputError, match="functional or Sequential"):
        restructure_linear(Own())
