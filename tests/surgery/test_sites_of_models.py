"""What is a site, what is not, what it is called, and in which order sites come."""

import keras
import numpy as np
import pytest

from keras_actnas import core, surgery

L = keras.layers


def chain(*layers, shape=(8, 8, 3)):
    return keras.Sequential([keras.Input(shape), *layers])


def found(model, include=()):
    return [(site.name, site.activation) for site in surgery.activation_sites(model, include)]


@pytest.mark.parametrize(
    ("layer", "activation"),
    [
        (L.Activation("relu"), "relu"),
        (L.Activation("swish"), "silu"),
        (L.Activation("hard_swish"), "hard_swish"),
        (L.Activation("hard_silu"), "hard_swish"),
        (L.Activation("leaky_relu"), "leaky_relu(0.2)"),
        (L.Activation(keras.ops.silu), "silu"),
        (L.Activation(L.LeakyReLU(0.1)), "leaky_relu"),
        (L.Activation("mish"), "mish"),
        (L.Activation("softplus"), "softplus"),
        (L.ReLU(), "relu"),
        (L.ReLU(max_value=6), "relu6"),
        (L.ReLU(negative_slope=0.1), "leaky_relu"),
        (L.ReLU(negative_slope=0.3), "leaky_relu(0.3)"),
        (L.LeakyReLU(), "leaky_relu(0.3)"),
        (L.ELU(), "elu"),
        (L.PReLU(), "prelu"),
        (L.Conv2D(4, 3, activation="relu"), "relu"),
        (L.Conv2D(4, 3, activation=L.LeakyReLU(0.1)), "leaky_relu"),
        (L.Conv2D(4, 3, activation=L.ReLU(6)), "relu6"),
        (L.Conv2DTranspose(4, 3, activation="gelu"), "gelu"),
        (L.DepthwiseConv2D(3, activation="relu6"), "relu6"),
        (L.SeparableConv2D(4, 3, activation="selu"), "selu"),
        (L.Dense(4, activation="elu"), "elu"),
        (L.EinsumDense("bhwc,cd->bhwd", (8, 8, 4), activation="silu"), "silu"),
    ],
)
def test_a_swappable_activation_is_a_site(layer, activation):
    assert found(chain(layer)) == [(layer.name, activation)]


def double_relu(x):
    return 2 * keras.ops.relu(x)


class ScaledConv(L.Conv2D):
    def call(self, inputs):
        return 2 * super().call(inputs)


@pytest.mark.parametrize(
    "layer",
    [
        L.ReLU(max_value=5),
        L.ReLU(threshold=1),
        L.ReLU(max_value=6, negative_slope=0.1),
        L.ELU(alpha=0.5),
        L.Softmax(),
        L.Activation("softmax"),
        L.Activation("sigmoid"),
        L.Activation("tanh"),
        L.Activation("linear"),
        L.Activation("hard_sigmoid"),
        L.Activation("celu"),
        L.Activation(double_relu),
        L.Activation(keras.ops.gelu),  # the approximate one
        L.Conv2D(4, 3),
        L.Conv2D(4, 3, activation=double_relu),
        L.Conv2D(4, 3, activation=L.PReLU(shared_axes=[1, 2])),
        L.TimeDistributed(L.Dense(4, activation="relu")),
        ScaledConv(4, 3, activation="relu"),
        L.BatchNormalization(),
    ],
)
def test_anything_else_is_no_site(layer):
    assert found(chain(layer)) == []


def test_recurrent_and_attention_layers_hold_no_sites():
    inputs = keras.Input((5, 4))
    x = L.LSTM(4, activation="relu", return_sequences=True)(inputs)
    x = L.GRU(4, activation="relu", return_sequences=True)(x)
    x = L.MultiHeadAttention(2, 2)(x, x)
    assert found(keras.Model(inputs, x)) == []


def test_include_asks_for_more():
    model = chain(
        L.Conv2D(4, 3, name="conv"), L.Dense(3, activation="sigmoid", name="gate"), L.Activation("tanh", name="out")
    )
    assert found(model) == []
    assert found(model, include=("sigmoid", "tanh")) == [("gate", "sigmoid"), ("out", "tanh")]
    assert found(model, include="tanh") == [("out", "tanh")]
    assert found(model, include=("linear",)) == [("conv", "identity")]
    with pytest.raises(core.InputError, match="Received: 'sigmod'"):
        found(model, include=("sigmod",))


def test_sites_come_in_the_order_of_application_with_their_shapes():
    inputs = keras.Input((8, 8, 3))
    # Created in another order than applied.
    last, first = L.ReLU(name="last"), L.Conv2D(4, 3, activation="silu", name="first")
    left = L.Conv2D(4, 1, strides=2, activation="gelu", name="left")
    x = first(inputs)
    x = left(x)
    model = keras.Model(inputs, last(x))
    assert surgery.activation_sites(model) == [
        core.Site("first", "silu", (6, 6, 4)),
        core.Site("left", "gelu", (3, 3, 4)),
        core.Site("last", "relu", (3, 3, 4)),
    ]


def test_a_final_relu_is_a_site_and_a_dynamic_size_is_none():
    model = chain(L.Conv2D(4, 3, activation="relu", name="only"), shape=(None, 8, 3))
    assert surgery.activation_sites(model) == [core.Site("only", "relu", (None, 6, 4))]


def test_a_layer_that_is_called_twice_is_one_site():
    inputs = keras.Input((8, 8, 3))
    shared = L.ReLU(name="shared")
    x = L.Conv2D(4, 3, name="conv")(shared(inputs))
    assert surgery.activation_sites(keras.Model(inputs, shared(x))) == [core.Site("shared", "relu", (8, 8, 3))]


def test_calls_in_other_models_do_not_count():
    inputs = keras.Input((8, 8, 3))
    shared = L.ReLU(name="shared")
    keras.Model(inputs, shared(inputs))
    other = keras.Input((4, 4, 3))
    assert surgery.activation_sites(keras.Model(other, shared(other)))[0].shape == (4, 4, 3)


def block(name, shape=(8, 8, 3)):
    inputs = keras.Input(shape)
    x = L.Conv2D(3, 3, padding="same", activation="relu", name="conv")(inputs)
    return keras.Model(inputs, L.ReLU(name=f"{name}_act")(x), name=name)


def test_sites_of_nested_models_are_named_by_path_only_where_needed():
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(3, 1, activation="silu", name="stem")(inputs)
    model = keras.Model(inputs, block("b")(block("a")(x)))
    assert [site.name for site in surgery.activation_sites(model)] == ["stem", "a/conv", "a_act", "b/conv", "b_act"]


def test_names_do_not_depend_on_activations_or_include():
    inputs = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.Input((8, 8, 3)), L.Activation("sigmoid", name="act")], name="inner")
    model = keras.Model(inputs, inner(L.ReLU(name="act")(inputs)))
    assert found(model) == [("act", "relu")]
    assert found(model, include=("sigmoid",)) == [("act", "relu"), ("inner/act", "sigmoid")]


def test_a_nested_model_that_is_called_twice_has_its_sites_once():
    inputs = keras.Input((8, 8, 3))
    shared = block("a")
    assert [name for name, _ in found(keras.Model(inputs, shared(shared(inputs))))] == ["conv", "a_act"]


def test_a_layer_shared_with_a_nested_model_is_one_site():
    shared = L.ReLU(name="shared")
    inner_inputs, inputs = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    inner = keras.Model(inner_inputs, shared(inner_inputs), name="inner")
    assert found(keras.Model(inputs, inner(shared(inputs)))) == [("shared", "relu")]


def test_yolo_layers_are_named_by_their_module_path():
    model = chain(L.Activation("silu", name="model-2-cv1-act"), L.ReLU(name="not-a-module"))
    assert [name for name, _ in found(model)] == ["model.2.cv1.act", "not-a-module"]


def test_looking_leaves_the_model_alone():
    model = chain(L.ReLU(name="act"), L.Dense(2, activation="softmax"))
    before = [len(layer._inbound_nodes) for layer in model.layers]
    surgery.activation_sites(model)
    assert [len(layer._inbound_nodes) for layer in model.layers] == before


class Subclassed(keras.Model):
    def call(self, inputs):
        return keras.ops.relu(inputs)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Subclassed(), "Expected a functional or Sequential Keras model.*Received.*Subclassed.*keras.Model"),
        (L.ReLU(), "Expected a functional or Sequential Keras model.*Received.*ReLU"),
        ("model.keras", "Expected a functional or Sequential Keras model.*Received: 'model.keras'"),
        (keras.Sequential([L.ReLU()], name="lazy"), "Expected.*input shape is known.*Received: 'lazy'"),
    ],
)
@pytest.mark.parametrize(
    "function",
    [
        surgery.activation_sites,
        surgery.current_assignment,
        lambda model: surgery.replace_activations(model, {}),
        surgery.separate_activations,
        surgery.set_batch_size,
    ],
)
def test_other_models_are_refused(function, model, message):
    with pytest.raises(core.InputError, match=message):
        function(model)


def test_a_sequential_model_that_was_built_by_its_data_has_sites():
    model = keras.Sequential([L.Dense(3, activation="relu", name="fc")])
    model(np.zeros((2, 4), "float32"))
    assert surgery.activation_sites(model) == [core.Site("fc", "relu", (3,))]
