"""Replacing activations: what changes, and everything that must not."""

import keras
import numpy as np
import pytest

from keras_actnas import core, surgery

L = keras.layers
REFERENCE = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.1 * x),
    "leaky_relu(0.3)": lambda x: np.where(x > 0, x, 0.3 * x),
    "identity": lambda x: x,
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}
X = np.random.default_rng(0).normal(0, 4, (2, 8, 8, 3)).astype("float32")


def run(model, x=X, **kwargs):
    return keras.tree.map_structure(np.asarray, model(x, **kwargs))


def small():
    inputs = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(4, 3, activation="relu", name="stem")(inputs)
    x = L.BatchNormalization(name="bn")(x)
    x = L.ReLU(name="act")(x * 0.5)
    return keras.Model(inputs, L.Dense(2, activation="softmax", name="head")(x), name="small")


@pytest.mark.parametrize("activation", REFERENCE)
def test_an_activation_layer_computes_what_its_name_says(activation):
    model = keras.Sequential([keras.Input((8, 8, 3)), L.Activation("gelu", name="act")])
    new = surgery.replace_activations(model, {"act": activation})
    np.testing.assert_allclose(run(new), REFERENCE[activation](X), rtol=1e-5, atol=1e-5)
    assert dict(surgery.current_assignment(new, include=[activation])) == {"act": activation}


@pytest.mark.parametrize("activation", REFERENCE)
def test_an_argument_computes_what_its_name_says(activation):
    identity = keras.initializers.Identity()
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), L.Dense(3, activation="gelu", kernel_initializer=identity, name="fc")]
    )
    new = surgery.replace_activations(model, {"fc": activation})
    assert len(new.layers) == 1
    np.testing.assert_allclose(run(new), REFERENCE[activation](X), rtol=1e-5, atol=1e-5)
    assert dict(surgery.current_assignment(new, include=[activation])) == {"fc": activation}


def test_gelu_is_exact():
    model = keras.Sequential([keras.Input((8, 8, 3)), L.ReLU(name="act")])
    new = surgery.replace_activations(model, {"act": "gelu"})
    expected = np.asarray(keras.ops.gelu(X, approximate=False))
    np.testing.assert_allclose(run(new), expected, atol=1e-6)
    assert np.abs(np.asarray(keras.ops.gelu(X, approximate=True)) - expected).max() > 1e-5


def test_a_partial_assignment_with_aliases_changes_only_its_sites():
    new = surgery.replace_activations(small(), {"act": "Swish"})
    assert dict(surgery.current_assignment(new)) == {"stem": "relu", "act": "silu"}


def test_assigning_the_current_activation_keeps_the_layer_exactly():
    model = keras.Sequential([keras.Input((8, 8, 3)), L.ReLU(negative_slope=0.1, name="act"), L.ReLU(6, name="six")])
    new = surgery.replace_activations(model, {"act": "leaky_relu", "six": "relu6"})
    assert [type(layer) for layer in new.layers] == [L.ReLU, L.ReLU]
    assert new.get_config() == model.get_config()


def test_the_original_is_untouched():
    model = small()
    outputs, config = run(model), model.get_config()
    calls = [len(operation._inbound_nodes) for operation in model.operations]
    new = surgery.replace_activations(model, {"stem": "silu", "act": "silu"})
    for weight in new.weights:
        weight.assign(weight * 0 + 7)
    assert model.get_config() == config
    assert [len(operation._inbound_nodes) for operation in model.operations] == calls
    np.testing.assert_array_equal(run(model), outputs)


def test_batch_norm_statistics_are_copied():
    model = small()
    norm = model.get_layer("bn")
    norm.moving_mean.assign([1, 2, 3, 4])
    norm.moving_variance.assign([5, 6, 7, 8])
    copied = surgery.replace_activations(model, {"stem": "silu"}).get_layer("bn")
    np.testing.assert_array_equal(np.asarray(copied.moving_mean), [1, 2, 3, 4])
    np.testing.assert_array_equal(np.asarray(copied.moving_variance), [5, 6, 7, 8])


def test_an_adapted_normalization_is_copied():
    layer = L.Normalization()
    layer.adapt(X)
    model = keras.Sequential([keras.Input((8, 8, 3)), layer, L.ReLU(name="act")])
    new = surgery.replace_activations(model, {"act": "relu"})
    np.testing.assert_array_equal(run(new), run(model))


def test_frozen_layers_stay_frozen():
    model = small()
    model.get_layer("stem").trainable = False
    model.get_layer("bn").gamma.trainable = False
    new = surgery.replace_activations(model, {"stem": "leaky_relu", "act": "silu"})
    assert not new.get_layer("stem").trainable
    assert new.get_layer("bn").trainable
    assert [weight.path for weight in new.trainable_weights] == [weight.path for weight in model.trainable_weights]
    assert [weight.path for weight in new.trainable_weights] == ["bn/beta", "head/kernel", "head/bias"]


def test_a_frozen_model_with_a_thawed_layer_stays_so():
    model = small()
    model.trainable = False
    model.get_layer("head").trainable = True
    new = surgery.replace_activations(model, {"act": "silu"})
    assert not new.trainable and new.get_layer("head").trainable and not new.get_layer("stem").trainable


def test_a_compiled_model_gives_one_that_is_not():
    model = small()
    model.compile("adam", "mse")
    assert not surgery.replace_activations(model, {"act": "silu"}).compiled
    assert model.compiled


def test_the_dtype_policies_are_kept():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inputs = keras.Input((8, 8, 3))
        x = L.ReLU(name="act")(L.Conv2D(4, 3, activation="relu", name="stem")(inputs))
        model = keras.Model(inputs, L.Dense(2, dtype="float32", name="head")(x))
    finally:
        keras.config.set_dtype_policy("float32")
    new = surgery.replace_activations(model, {"stem": "leaky_relu", "act": "leaky_relu"})
    assert [layer.dtype_policy.name for layer in new.layers[1:]] == ["mixed_float16", "mixed_float16", "float32"]
    assert new.get_layer("act").output.dtype == "float16"
    assert new.get_layer("stem").activation.compute_dtype == "float16"
    assert run(new).dtype == np.float32


def test_inputs_and_outputs_keep_their_names_and_structure():
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((4,), name="right", dtype="int32")
    x = L.ReLU(name="act")(left)
    y = L.Dense(2, activation="relu", name="fc")(keras.ops.cast(right, "float32"))
    model = keras.Model({"left": left, "right": right}, {"maps": [x], "scores": (y, x)})
    new = surgery.replace_activations(model, {"act": "silu"})
    batch = {"left": X, "right": np.arange(8).reshape(2, 4)}
    assert [layer.name for layer in new.layers] == [layer.name for layer in model.layers]
    assert new.output_names == model.output_names
    assert [tensor.dtype for tensor in new.inputs] == [tensor.dtype for tensor in model.inputs]
    outputs = run(new, batch)
    keras.tree.assert_same_structure(outputs, run(model, batch))
    np.testing.assert_allclose(outputs["maps"][0], REFERENCE["silu"](X), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(outputs["scores"][0], run(model, batch)["scores"][0])


@pytest.mark.parametrize("as_list", [True, False])
def test_a_list_of_one_stays_a_list_of_one(as_list):
    inputs = keras.Input((8, 8, 3))
    outputs = L.ReLU(name="act")(inputs)
    model = keras.Model([inputs], [outputs]) if as_list else keras.Model(inputs, outputs)
    new = surgery.replace_activations(model, {"act": "silu"})
    assert isinstance(new.input, list) == isinstance(new.output, list) == as_list
    assert new.get_config()["input_layers"] == model.get_config()["input_layers"]


def test_an_unnamed_input_keeps_its_name():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, L.ReLU(name="act")(inputs))
    assert surgery.replace_activations(model, {"act": "silu"}).layers[0].name == model.layers[0].name


def nested():
    def block(name):
        inputs = keras.Input((8, 8, 3), name="x")
        x = L.Conv2D(3, 3, padding="same", activation="relu", name="conv")(inputs)
        return keras.Model(inputs, L.BatchNormalization(name="bn")(x), name=name)

    inputs = keras.Input((8, 8, 3), name="image")
    tail = keras.Sequential([L.ReLU(name="tail_act"), L.Dense(2, name="tail_fc")], name="tail")
    twice = block("twice")
    x = block("once")(twice(twice(inputs)))
    model = keras.Model(inputs, tail(x), name="nested")
    random = np.random.default_rng(2)
    for weight in model.weights:
        weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model


def test_nested_models_are_copied_whole():
    model = nested()
    same = surgery.replace_activations(model, surgery.current_assignment(model))
    assert [layer.name for layer in same.layers] == [layer.name for layer in model.layers]
    np.testing.assert_array_equal(run(same), run(model))
    new = surgery.replace_activations(model, {"twice/conv": "identity", "tail_act": "silu"})
    assert dict(surgery.current_assignment(new)) == {"once/conv": "relu", "tail_act": "silu"}
    assert np.abs(run(new) - run(model)).max() > 1e-3
    assert new.get_layer("twice").get_layer("conv").activation is keras.activations.linear
    back = surgery.replace_activations(new, {"twice/conv": "relu", "tail_act": "relu"}, include=("identity",))
    np.testing.assert_array_equal(run(back), run(model))


def test_nested_trainable_flags_are_copied():
    model = nested()
    model.get_layer("once").trainable = False
    model.get_layer("twice").get_layer("bn").trainable = False
    new = surgery.replace_activations(model, {"tail_act": "silu"})
    assert not new.get_layer("once").trainable
    assert new.get_layer("twice").trainable and not new.get_layer("twice").get_layer("bn").trainable
    assert len(new.trainable_weights) == len(model.trainable_weights) == 4


def test_a_shared_activation_layer_stays_shared():
    inputs = keras.Input((8, 8, 3))
    shared = L.ReLU(name="shared")
    conv = L.Conv2D(3, 1, name="conv")
    model = keras.Model(inputs, shared(conv(shared(conv(inputs)))))
    new = surgery.replace_activations(model, {"shared": "leaky_relu"})
    assert len(new.layers) == 3 and len(new.weights) == 2
    kernel, bias = (np.asarray(weight) for weight in conv.weights)
    step = lambda x: REFERENCE["leaky_relu"](x @ kernel[0, 0] + bias)  # noqa: E731
    np.testing.assert_allclose(run(new), step(step(X)), rtol=1e-4, atol=1e-4)


def test_a_layer_shared_with_a_nested_model_stays_shared():
    shared = L.Dense(3, activation="relu", name="shared")
    inner_inputs, inputs = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    inner = keras.Model(inner_inputs, shared(inner_inputs), name="inner")
    model = keras.Model(inputs, inner(shared(inputs)))
    new = surgery.replace_activations(model, {"shared": "silu"})
    assert new.get_layer("shared") is new.get_layer("inner").get_layer("shared")
    assert len(new.weights) == len(model.weights) == 2


def test_call_arguments_are_kept():
    inputs = keras.Input((8, 8, 3))
    x = L.BatchNormalization(name="bn")(inputs, training=False)
    model = keras.Model(inputs, L.ReLU(name="act")(keras.ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))[:, 1:]))
    new = surgery.replace_activations(model, {"act": "relu"})
    np.testing.assert_array_equal(run(new, training=True), run(model, training=True))
    assert [operation.name for operation in new.operations] == [operation.name for operation in model.operations]


def shrink(x):
    return x * 0.25


def test_functions_that_are_registered_nowhere_survive_a_copy():
    inputs = keras.Input((8, 8, 3))
    x = L.Lambda(lambda x: shrink(x), name="lambda")(inputs)
    x = L.Activation(shrink, name="own")(L.Conv2D(3, 1, activation=shrink, name="conv")(x))
    model = keras.Model(inputs, L.ReLU(name="act")(x))
    new = surgery.replace_activations(model, {"act": "relu"})
    np.testing.assert_array_equal(run(new), run(model))


class Halve(keras.Operation):
    def __init__(self):
        super().__init__()

    def call(self, x):
        return x / 2

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


def test_operations_keep_their_names():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, L.ReLU(name="act")(Halve()(Halve()(inputs)) * 2.0))
    new = surgery.replace_activations(model, {"act": "relu"})
    assert [operation.name for operation in new.operations] == [operation.name for operation in model.operations]
    np.testing.assert_array_equal(run(new), run(model))


def test_prelu_weights_are_kept_or_new():
    model = keras.Sequential([keras.Input((8, 8, 3)), L.PReLU(shared_axes=[1, 2], name="p"), L.ReLU(name="r")])
    model.get_layer("p").alpha.assign(np.full((1, 1, 3), 0.5))
    same = surgery.replace_activations(model, {"p": "prelu"})
    np.testing.assert_array_equal(run(same), run(model))
    new = surgery.replace_activations(model, {"p": "relu", "r": "prelu"})
    assert [weight.name for weight in new.weights] == ["alpha"]
    assert new.weights[0].shape == (1, 1, 3)
    np.testing.assert_array_equal(run(new), np.maximum(X, 0))
    alone = surgery.replace_activations(new, {"p": "identity"})
    np.testing.assert_allclose(run(alone), np.where(X > 0, X, 0.25 * X), rtol=1e-6)


def test_prelu_behind_a_dense_layer_has_a_slope_for_each_unit():
    model = keras.Sequential([keras.Input((3,)), L.Dense(5), L.ReLU(name="r")])
    assert surgery.replace_activations(model, {"r": "prelu"}).get_layer("r").alpha.shape == (5,)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ({"stem": "prelu"}, "Expected an activation without weights.*Received: 'prelu' for 'stem'"),
        ({"stam": "relu"}, "Expected sites of this model, which has 2. Received: 'stam'.*'stem'"),
        ({"head": "relu"}, "Expected sites of this model"),
        ({"stem": "rely"}, "Received: 'rely'.*'relu'"),
        ({"stem": None}, "Expected the name of an activation. Received: None"),
    ],
)
def test_bad_assignments_are_refused(assignment, message):
    with pytest.raises(core.InputError, match=message):
        surgery.replace_activations(small(), assignment)


def test_heads_can_be_replaced_when_asked_for():
    model = keras.Sequential([keras.Input((3,)), L.Dense(2, activation="sigmoid", name="head")])
    new = surgery.replace_activations(model, {"head": "hard_sigmoid"}, include=("sigmoid",))
    assert new.get_layer("head").activation is keras.activations.hard_sigmoid


class Forgetful(L.Layer):
    def __init__(self, table):
        super().__init__()
        self.table = table

    def call(self, inputs):
        return inputs * self.table[0]


def test_a_layer_without_a_configuration_is_named():
    model = keras.Sequential([keras.Input((8, 8, 3)), Forgetful(np.ones(3)), L.ReLU(name="act")])
    with pytest.raises(core.InputError, match="Expected layers that.*recreate.*Received: 'forgetful.*get_config"):
        surgery.replace_activations(model, {"act": "silu"})
