"""Section: several layers of a copy in the place of one of the original."""

import keras
import numpy as np
import pytest

from keras_actnas.surgery.copying import Rewrite, Section, copy_model

L = keras.layers


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def two(layer):
    """Returns a section of two layers that multiply by 2 and add 1, in the place of a layer."""
    first, second = L.Rescaling(2.0, name=f"{layer.name}_first"), L.Rescaling(1.0, 1.0, name=f"{layer.name}_second")
    return Section(lambda inputs: second(first(inputs)))


def instead(layer):
    return two(layer) if isinstance(layer, L.Dropout) else None


def names(model):
    return [layer.name for layer in model.layers if not isinstance(layer, L.InputLayer)]


X = np.arange(6.0, dtype="float32").reshape(2, 3)


def test_in_a_functional_model():
    inputs = keras.Input((3,))
    x = L.Dense(3, name="dense")(inputs)
    y = L.Dropout(0.5, name="drop")(x, training=False)  # What the layer was called with besides is of no use here.
    model = keras.Model(inputs, L.Add(name="sum")([x, y]), name="net")
    copy = copy_model(model, Rewrite(instead=instead))
    assert (names(copy), copy.name) == (["dense", "drop_first", "drop_second", "sum"], "net")
    np.testing.assert_allclose(numpy(copy(X)), 3 * numpy(model.get_layer("dense")(X)) + 1, rtol=1e-5)
    assert names(model) == ["dense", "drop", "sum"]


def test_in_a_sequential_model():
    layers = [L.Dropout(0.5, name="a"), L.Dense(3, name="dense"), L.Dropout(0.5, name="b")]
    model = keras.Sequential([keras.Input((3,), name="image"), *layers], name="net")
    copy = copy_model(model, Rewrite(instead=instead))
    assert not isinstance(copy, keras.Sequential) and copy.name == "net"
    assert names(copy) == ["a_first", "a_second", "dense", "b_first", "b_second"]
    assert copy.inputs[0].name == "image"
    np.testing.assert_allclose(numpy(copy(X)), 2 * numpy(model.get_layer("dense")(2 * X + 1)) + 1, rtol=1e-5)


def test_a_sequential_model_without_one_stays_sequential():
    model = keras.Sequential([keras.Input((3,)), L.Dense(3)])
    assert type(copy_model(model, Rewrite(instead=instead))) is keras.Sequential


def test_a_shared_layer_becomes_shared_ones():
    drop = L.Dropout(0.5, name="drop")
    inner = keras.Sequential([keras.Input((3,)), drop, L.Dense(3, name="dense")], name="inner")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, drop(inner(inner(drop(inputs)))))
    copy = copy_model(model, Rewrite(instead=instead))
    inside = copy.get_layer("inner")
    assert inside.get_layer("drop_first") is copy.get_layer("drop_first")
    assert len([layer for layer in copy._flatten_layers() if layer.name == "drop_first"]) == 1
    dense = model.get_layer("inner").get_layer("dense")
    expected = 2 * X + 1
    for _ in range(2):
        expected = numpy(dense(2 * expected + 1))
    np.testing.assert_allclose(numpy(copy(X)), 2 * expected + 1, rtol=1e-5)


@pytest.mark.parametrize("sequential", [True, False])
def test_a_layer_behind_a_section(sequential):
    inputs = keras.Input((3,))
    drop = L.Dropout(0.5, name="drop")
    model = keras.Sequential([inputs, drop]) if sequential else keras.Model(inputs, drop(inputs))
    after = Rewrite(instead, lambda layer: L.ReLU(name="act") if layer is drop else None)
    copy = copy_model(model, after)
    assert names(copy) == ["drop_first", "drop_second", "act"]
    np.testing.assert_allclose(numpy(copy(-X)), np.maximum(1 - 2 * X, 0))


def test_flags_and_weights_of_the_others():
    layers = [L.Dense(3, name="frozen", trainable=False), L.Dropout(0.5), L.BatchNormalization(name="norm")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    copy = copy_model(model, Rewrite(instead=instead))
    assert not copy.get_layer("frozen").trainable and copy.get_layer("norm").trainable
    for one, other in zip(model.weights, copy.weights, strict=True):
        np.testing.assert_array_equal(numpy(one), numpy(other))
        assert one is not other

    model.trainable = False
    assert copy_model(model, Rewrite(instead=instead)).trainable_weights == []


def test_several_outputs_and_nested_inputs():
    inputs = {"a": keras.Input((3,), name="a"), "b": keras.Input((3,), name="b")}
    x = L.Dropout(0.5, name="drop")(inputs["a"])
    model = keras.Model(inputs, [L.Add(name="sum")([x, inputs["b"]]), x])
    copy = copy_model(model, Rewrite(instead=instead))
    total, single = copy({"a": X, "b": 3 * X})
    np.testing.assert_allclose(numpy(total), 5 * X + 1)
    np.testing.assert_allclose(numpy(single), 2 * X + 1)
