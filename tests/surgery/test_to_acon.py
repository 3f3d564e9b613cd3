"""ACON in the place of activations, and the parameter counts of the paper's table 3."""

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.layers import ACONA, ACONB, ACONC, MetaACON
from keras_actnas.surgery import activation_sites, to_acon

AS_SILU = {"p1_initializer": "ones", "p2_initializer": "zeros"}


def small(activation="relu"):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, activation=activation, name="stem")(inputs)
    x = keras.layers.Conv2D(32, 3, name="conv")(x)
    x = keras.layers.Activation(activation, name="act")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(4, activation="softmax", name="head")(x))


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize("variant", [ACONA, ACONB, ACONC, MetaACON])
def test_every_site_gets_its_layer(variant):
    model = small()
    acon = to_acon(model, variant)
    assert type(acon.get_layer("act")) is variant
    assert type(acon.get_layer("stem").activation) is variant
    assert acon.get_layer("stem").activation.weights
    assert acon.get_layer("head").activation is keras.activations.softmax
    np.testing.assert_array_equal(acon.get_layer("stem").kernel, model.get_layer("stem").kernel)
    assert [layer.name for layer in acon.layers] == [layer.name for layer in model.layers]
    assert activation_sites(model)[0].activation == "relu"


@pytest.mark.parametrize("variant, arguments", [(ACONA, {}), (ACONC, AS_SILU)])
def test_a_trained_silu_network_stays_what_it_is(variant, arguments):
    model = small("silu")
    image = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    acon = to_acon(model, variant, **arguments)
    np.testing.assert_allclose(acon.predict(image, verbose=0), model.predict(image, verbose=0), atol=1e-6)


def test_only_the_named_sites():
    acon = to_acon(small(), sites=["act"])
    assert type(acon.get_layer("act")) is ACONC
    assert acon.get_layer("stem").activation is keras.activations.relu


def test_narrow_layers_get_a_smaller_reduction():
    acon = to_acon(small(), MetaACON)
    assert acon.get_layer("stem").activation.reduction == 8
    assert acon.get_layer("act").reduction == 16
    assert to_acon(small(), MetaACON, reduction=4).get_layer("act").reduction == 4


def test_policies_and_flags_are_kept():
    model = small()
    model.get_layer("act").trainable = False
    model.get_layer("act").dtype_policy = "mixed_float16"
    layer = to_acon(model).get_layer("act")
    assert (layer.trainable, layer.compute_dtype) == (False, "float16")


@pytest.mark.parametrize(
    ("network", "arguments", "ending", "before", "after", "paper"),
    [
        # In thousands. The paper's counts are in millions with one digit: 0.5 -> 0.6, 2.6 -> 3.1, 25.5 -> 25.7.
        ("MobileNet", {"alpha": 0.25}, "", 470, 572, (0.5, 0.6)),
        ("MobileNet", {"alpha": 0.75}, "", 2586, 3112, (2.6, 3.1)),
        ("ResNet50", {}, "_2_relu", 25584, 25773, (25.6, 25.8)),
    ],
)
def test_parameters_of_table_3(network, arguments, ending, before, after, paper):
    model = getattr(keras.applications, network)(weights=None, input_shape=(64, 64, 3), **arguments)
    sites = [site.name for site in activation_sites(model) if site.name.endswith(ending)]
    meta = to_acon(model, MetaACON, sites=sites)
    assert (round(trainable(model) / 1e3), round(trainable(meta) / 1e3)) == (before, after)
    assert (round(trainable(model) / 1e6, 1), round(trainable(meta) / 1e6, 1)) == paper


def test_parameters_of_mobilenet_v2_are_more_than_the_papers():
    """All 35 activations give 4.9 M; the paper says 3.9 M; those after a depthwise convolution alone give 4.1."""
    model = keras.applications.MobileNetV2(weights=None, input_shape=(64, 64, 3))
    depthwise = [site.name for site in activation_sites(model) if "depthwise" in site.name]
    assert round(trainable(to_acon(model, MetaACON)) / 1e3) == 4942
    assert round(trainable(to_acon(model, MetaACON, sites=depthwise)) / 1e3) == 4118


def test_an_argument_has_the_data_format_of_its_layer():
    conv = keras.layers.Conv2D(4, 1, data_format="channels_first", activation="relu", name="conv")
    inputs = keras.Input((3, 6, 7))
    acon = to_acon(keras.Model(inputs, keras.layers.Flatten()(conv(inputs))))
    assert acon.get_layer("conv").activation.p1.shape == (4, 1, 1)


def test_no_sites_chosen():
    assert to_acon(small(), sites=[]).get_layer("act").activation is keras.activations.relu


def test_a_model_whose_activations_have_not_run_yet():
    """Keras gives an `activation=` its weights when the model first runs."""
    layers = [keras.layers.Conv2D(4, 3, activation=ACONC(), name="fresh"), keras.layers.Conv2D(4, 3, activation="relu")]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    assert to_acon(model).get_layer("fresh").activation.built
    assert not model.get_layer("fresh").activation.built


def test_bad_input():
    with pytest.raises(InputError, match="Expected a variant of ACONA, .* Received: 'acon_d'"):
        to_acon(small(), "acon_d")
    with pytest.raises(InputError, match="nothing"):
        to_acon(small(), sites=["nothing"])
    with pytest.raises(InputError, match="Expected a model with activation sites"):
        to_acon(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
