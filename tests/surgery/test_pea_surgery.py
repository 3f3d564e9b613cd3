"""From ReLU to PEA and back, through training."""

import keras
import numpy as np
import pytest

from keras_actnas.callbacks import PEAScheduler
from keras_actnas.core import InputError
from keras_actnas.layers import StochasticPEA, WeightedPEA
from keras_actnas.surgery import strip_pea, to_pea


def small():
    """A network with every kind of ReLU: a layer, an argument, one inside of a nested model, one of a shared layer."""
    shared = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="shared")
    part = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 1), keras.layers.ReLU(name="inner")])
    inputs = keras.Input((8, 8, 4))
    x = shared(shared(inputs))
    x = part(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Activation("relu", name="act")(x)
    x = keras.layers.Conv2D(4, 3, activation="relu6", name="clipped")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="head")(x), name="small")


@pytest.fixture
def batch():
    random = np.random.default_rng(0)
    return random.normal(size=(16, 8, 8, 4)).astype("float32"), random.normal(size=(16, 2)).astype("float32")


def outputs(model, images):
    """Returns a model's outputs, computed layer by layer: compiled as a whole, two networks may round differently."""
    return keras.ops.convert_to_numpy(keras.ops.stop_gradient(model(images)))


def find(model, name):
    return next(layer for layer in model._flatten_layers() if layer.name == name)


@pytest.mark.parametrize(("stochastic", "kind"), [(False, WeightedPEA), (True, StochasticPEA)])
def test_every_relu_becomes_an_ensemble(stochastic, kind, batch):
    model = small()
    pea = to_pea(model, "gelu", stochastic=stochastic)
    made = [find(pea, "act"), find(pea, "inner"), find(pea, "shared").activation]
    assert all(type(layer) is kind and layer.activation == "gelu" and float(layer.alpha) == 0 for layer in made)
    assert find(pea, "clipped").activation is keras.activations.relu6
    for layer in made:
        layer.alpha = 1.0
    np.testing.assert_allclose(outputs(pea, batch[0]), outputs(model, batch[0]), atol=1e-6)


def test_stochastic_layers_have_seeds_of_their_own():
    pea = to_pea(small(), stochastic=True, seed=10)
    seeds = [layer.seed for layer in pea._flatten_layers() if isinstance(layer, StochasticPEA)]
    assert sorted(seeds) == [10, 11, 12]


@pytest.mark.parametrize("stochastic", [False, True])
def test_training_ends_in_a_plain_relu_network(stochastic, batch, tmp_path):
    pea = to_pea(small(), stochastic=stochastic, seed=0)
    pea.compile("adam", "mse")
    pea.fit(*batch, batch_size=4, epochs=4, verbose=0, callbacks=[PEAScheduler(1, 3)])
    relu = strip_pea(pea)
    assert not any("PEA" in type(layer).__name__ for layer in relu._flatten_layers())
    np.testing.assert_array_equal(outputs(relu, batch[0]), outputs(pea, batch[0]))
    assert [layer.name for layer in relu.layers] == [layer.name for layer in pea.layers]
    relu.save(tmp_path / "relu.keras")
    again = keras.models.load_model(tmp_path / "relu.keras", custom_objects={})
    np.testing.assert_array_equal(outputs(again, batch[0]), outputs(pea, batch[0]))


def test_training_a_copy_leaves_the_original_alone(batch):
    """The JAX trainer deletes the arrays that it was given: a copy must have its own."""
    model = small()
    expected = outputs(model, batch[0])
    pea = to_pea(model)
    pea.compile("sgd", "mse")
    pea.fit(*batch, verbose=0)
    np.testing.assert_array_equal(outputs(model, batch[0]), expected)


def test_stripping_too_early_is_refused(batch):
    pea = to_pea(small())
    for name in ("act", "inner"):
        find(pea, name).alpha = 1.0
    find(pea, "shared").activation.alpha = 0.75
    with pytest.raises(InputError, match=r"Received: 1 layers below it, such as 'shared_activation' with 0.75"):
        strip_pea(pea)
    assert find(strip_pea(pea, force=True), "shared").activation is keras.activations.relu


def test_alphas_that_are_nan_are_refused():
    pea = to_pea(small())
    find(pea, "act")._alpha.assign(np.nan)
    with pytest.raises(InputError, match="Expected alpha = 1"):
        strip_pea(pea)


def test_only_the_named_sites():
    pea = to_pea(small(), sites=["act"])
    assert isinstance(find(pea, "act"), WeightedPEA)
    assert isinstance(find(pea, "inner"), keras.layers.ReLU)


def test_flags_and_policies_are_kept():
    model = small()
    find(model, "act").trainable = False
    find(model, "act").dtype_policy = "mixed_bfloat16"
    for changed in (to_pea(model), strip_pea(to_pea(model), force=True)):
        layer = find(changed, "act")
        assert (layer.trainable, layer.compute_dtype) == (False, "bfloat16")


def test_models_without_relu():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="relu6"), keras.layers.Dense(2)])
    with pytest.raises(InputError, match="with 1 relu6; put ReLUs in with `replace_activations`"):
        to_pea(model)
    with pytest.raises(InputError, match="Expected a model with PEA layers"):
        strip_pea(model)


def test_other_sites_are_no_relus():
    with pytest.raises(InputError, match="clipped"):
        to_pea(small(), sites=["clipped"])


def test_seeds_are_whole_numbers():
    with pytest.raises(InputError, match="Expected seed to be a whole number or None. Received: 'x'"):
        to_pea(small(), stochastic=True, seed="x")


def test_unknown_activations():
    with pytest.raises(InputError, match="Did you mean 'gelu'"):
        to_pea(small(), "gelo")


def test_an_ensemble_in_a_wrapper_cannot_be_stripped():
    wrapped = keras.layers.TimeDistributed(WeightedPEA(alpha=1.0, name="hidden"))
    model = keras.Sequential([keras.Input((3, 4)), WeightedPEA(alpha=1.0), wrapped])
    with pytest.raises(InputError, match="'hidden' inside of another layer"):
        strip_pea(model)
