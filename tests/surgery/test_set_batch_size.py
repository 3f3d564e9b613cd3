"""A fixed batch and float32."""

import keras
import numpy as np
import pytest

from keras_actnas import core, surgery

L = keras.layers
X = np.random.default_rng(0).normal(0, 2, (1, 8, 8, 3)).astype("float32")


def small(dtype="float32"):
    inputs = keras.Input((8, 8, 3), name="image", dtype="float32")
    x = L.Conv2D(4, 3, activation=L.LeakyReLU(0.1), dtype=dtype, name="stem")(inputs)
    x = keras.ops.cast(x, "float32" if dtype == "float32" else "float16")
    x = L.TimeDistributed(L.Dense(4, activation="relu", dtype=dtype), dtype=dtype, name="wrapped")(x)
    return keras.Model(inputs, L.ReLU(dtype=dtype, name="act")(x), name="small")


def test_the_batch_is_fixed_and_the_outputs_are_the_same():
    model = small()
    new = surgery.set_batch_size(model)
    assert new.inputs[0].shape == (1, 8, 8, 3)
    assert new.outputs[0].shape == (1, 6, 6, 4)
    assert [layer.name for layer in new.layers] == [layer.name for layer in model.layers]
    np.testing.assert_array_equal(np.asarray(new(X)), np.asarray(model(X)))
    assert model.inputs[0].shape == (None, 8, 8, 3)


def test_several_inputs_keep_their_structure_and_types():
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((4,), name="right", dtype="int32")
    model = keras.Model({"left": left, "right": right}, [L.ReLU()(left), L.Embedding(5, 2)(right)])
    new = surgery.set_batch_size(model, 3)
    assert {name: tensor.shape for name, tensor in new.input.items()} == {"left": (3, 8, 8, 3), "right": (3, 4)}
    assert [tensor.dtype for tensor in new.inputs] == ["float32", "int32"]
    assert [tensor.shape for tensor in new.outputs] == [(3, 8, 8, 3), (3, 4, 2)]


def test_sequential_and_nested_models_work():
    inner = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(4, 3, activation="relu")])
    model = keras.Sequential([keras.Input((8, 8, 3)), inner, L.Flatten(), L.Dense(2)])
    new = surgery.set_batch_size(model)
    assert isinstance(new, keras.Sequential)
    assert new.outputs[0].shape == (1, 2)
    np.testing.assert_array_equal(np.asarray(new(X)), np.asarray(model(X)))


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_everything_computes_in_float32(dtype):
    model = small(dtype)
    new = surgery.set_batch_size(model)
    assert {layer.dtype_policy.name for layer in new._flatten_layers() if layer is not new} == {"float32"}
    assert {tensor.dtype for operation in new.operations for tensor in operation._inbound_nodes[0].outputs} == {
        "float32"
    }
    assert {weight.dtype for weight in new.weights} == {"float32"}
    np.testing.assert_allclose(np.asarray(new(X)), np.asarray(model(X), "float32"), rtol=0.05, atol=0.05)


class Block(L.Layer):
    """Makes a layer inside of itself, which follows the global policy."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = L.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


def test_a_global_policy_does_not_reach_the_copy_and_is_put_back():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = keras.Sequential([keras.Input((8, 8, 3)), Block(name="block")])
        new = surgery.set_batch_size(model)
        assert keras.config.dtype_policy().name == "mixed_float16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("block").dense.compute_dtype == "float16"
    assert new.get_layer("block").dense.compute_dtype == "float32"


def test_a_size_that_is_not_known_is_refused():
    inputs = keras.Input((None, None, 3), name="image")
    model = keras.Model(inputs, L.ReLU()(inputs))
    with pytest.raises(core.InputError, match=r"Expected.*Received: shape \(None, None, None, 3\) of 'image'.*fixed"):
        surgery.set_batch_size(model)


@pytest.mark.parametrize("size", [0, -1, 1.0, None, True])
def test_a_bad_batch_size_is_refused(size):
    with pytest.raises(core.InputError, match="Expected a batch size of 1 or more. Received"):
        surgery.set_batch_size(small(), size)
