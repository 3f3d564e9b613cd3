"""Every site as an activation layer of its own."""

import keras
import numpy as np
import pytest

from keras_actnas import core, surgery

L = keras.layers
X = np.random.default_rng(0).normal(0, 2, (2, 8, 8, 3)).astype("float32")


def run(model):
    return np.asarray(model(X))


def build():
    inputs = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(4, 3, activation="relu", name="stem")(inputs)
    x = L.ReLU(6, name="act")(x)
    shared = L.Dense(4, activation=L.LeakyReLU(0.1), name="shared")
    return keras.Model(inputs, L.Dense(2, activation="softmax", name="head")(shared(shared(x))))


def test_every_site_is_a_layer_and_the_outputs_are_the_same():
    model = build()
    new = surgery.separate_activations(model)
    names = [layer.name for layer in new.layers]
    assert names == ["image", "stem", "stem_activation", "act", "shared", "shared_activation", "head"]
    assert dict(surgery.current_assignment(new)) == {
        "stem_activation": "relu",
        "act": "relu6",
        "shared_activation": "leaky_relu",
    }
    assert [weight.path for weight in new.weights] == [weight.path for weight in model.weights]
    np.testing.assert_allclose(run(new), run(model), atol=1e-6)


def test_the_carrier_has_one_recognisable_layer_for_each_site():
    model = build()
    new = surgery.separate_activations(model, name_of=lambda site: f"site__{site}", activation="swish")
    carriers = {layer.name: layer for layer in new.layers if layer.name.startswith("site__")}
    assert list(carriers) == [f"site__{site.name}" for site in surgery.activation_sites(model)]
    assert all(type(layer) is L.Activation for layer in carriers.values())
    assert set(surgery.current_assignment(new).values()) == {"silu"}
    # As many calls as the site has in the original.
    calls = [len(layer._inbound_nodes) for layer in carriers.values()]
    assert calls == [1, 1, 2]
    uniform = surgery.replace_activations(model, dict.fromkeys(surgery.current_assignment(model), "silu"))
    np.testing.assert_allclose(run(new), run(uniform), atol=1e-6)


def test_sites_of_sequential_and_nested_models_are_separated():
    inner = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(3, 1, activation="silu", name="conv")], name="inner")
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(3, 1, activation="relu", name="conv")(inputs)
    model = keras.Model(inputs, inner(x))
    names = {"conv": "first", "inner/conv": "second"}
    new = surgery.separate_activations(model, name_of=names.get)
    assert [layer.name for layer in new.get_layer("inner").layers] == ["conv", "second"]
    assert [site.name for site in surgery.activation_sites(new)] == ["first", "second"]
    np.testing.assert_allclose(run(new), run(model), atol=1e-6)


def test_a_prelu_keeps_its_weights():
    model = keras.Sequential([keras.Input((8, 8, 3)), L.PReLU(alpha_initializer="ones", name="p")])
    new = surgery.separate_activations(model, name_of=lambda site: "renamed")
    assert [layer.name for layer in new.layers] == ["renamed"]
    np.testing.assert_array_equal(run(new), X)


def test_the_split_layer_computes_in_the_precision_of_its_layer():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), L.Conv2D(4, 3, activation="relu", dtype="mixed_float16", name="c")]
    )
    new = surgery.separate_activations(model)
    assert new.layers[-1].dtype_policy.name == "mixed_float16"
    assert new.outputs[0].dtype == model.outputs[0].dtype == "float16"


def test_a_penalty_on_the_output_is_dropped_with_the_split():
    layer = L.Conv2D(4, 3, activation="relu", activity_regularizer="l2", name="c")
    new = surgery.separate_activations(keras.Sequential([keras.Input((8, 8, 3)), layer]))
    assert [layer.activity_regularizer for layer in new.layers] == [None, None]


@pytest.mark.parametrize("name_of", [lambda site: "same", lambda site: f"a/{site}", lambda site: "", lambda site: None])
def test_names_that_cannot_be_used_are_refused(name_of):
    with pytest.raises(core.InputError, match="Expected `name_of`.*Received"):
        surgery.separate_activations(build(), name_of=name_of)


def test_an_unknown_activation_is_refused():
    with pytest.raises(core.InputError, match="Expected the name of an activation"):
        surgery.separate_activations(build(), activation="swoosh")


def test_only_the_sites_that_are_named_are_separated():
    model = build()
    new = surgery.separate_activations(model, sites=["shared", "act"])
    assert [layer.name for layer in new.layers] == ["image", "stem", "act", "shared", "shared_activation", "head"]
    assert dict(surgery.current_assignment(new)) == {
        "stem": "relu",
        "act": "relu6",
        "shared_activation": "leaky_relu",
    }
    np.testing.assert_allclose(run(new), run(model), atol=1e-6)


def test_other_sites_keep_their_names_and_activations():
    asked = []

    def name_of(site):
        asked.append(site)
        return f"site-{site}"

    model = build()
    new = surgery.separate_activations(model, name_of=name_of, activation="silu", sites=("stem",))
    assert asked == ["stem"]
    assert dict(surgery.current_assignment(new)) == {"site-stem": "silu", "act": "relu6", "shared": "leaky_relu"}
    expected = surgery.replace_activations(model, {"stem": "silu"})
    np.testing.assert_allclose(run(new), run(expected), atol=1e-6)


def test_no_sites_at_all_is_a_copy():
    model = build()
    new = surgery.separate_activations(model, activation="silu", sites=[])
    assert new is not model
    assert surgery.current_assignment(new) == surgery.current_assignment(model)
    np.testing.assert_array_equal(run(new), run(model))


@pytest.mark.parametrize("sites", [["stem", "head"], ["stem_activation"], "stem"])
def test_sites_that_the_model_does_not_have_are_refused(sites):
    with pytest.raises(core.InputError, match="Expected sites of this model, which has 3. Received"):
        surgery.separate_activations(build(), sites=sites)
