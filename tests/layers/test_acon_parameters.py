"""Parameters of the ACON layers: start values, shapes, regularizers, constraints."""

import keras
import numpy as np
import pytest

from keras_actnas.layers import ACON, ACONA, ACONB, ACONC, MetaACON

Constant = keras.initializers.Constant


def values(layer):
    return [keras.ops.convert_to_numpy(weight) for weight in layer.weights]


def built(layer, shape=(None, 4)):
    layer.build(shape)
    return layer


def test_acon_is_acon_c():
    assert ACON is ACONC


@pytest.mark.parametrize("make", [ACONC, lambda: MetaACON(granularity="pixel")], ids=["acon_c", "meta"])
def test_p1_and_p2_start_as_normal_numbers_of_their_own(make):
    n = 20_000
    layers = [built(make(), (None, n)) for _ in range(2)]
    drawn = [values(layer)[index] for layer in layers for index in range(2)]
    for numbers in drawn:
        assert abs(numbers.mean()) < 4 / np.sqrt(n)
        assert abs(numbers.std() - 1) < 4 / np.sqrt(2 * n)
        assert np.mean(np.abs(numbers) < 0.6745) == pytest.approx(0.5, abs=0.02)  # Half of N(0, 1).
    # Within a layer and between layers.
    correlations = np.corrcoef(drawn) - np.eye(4)
    assert np.abs(correlations).max() < 4 / np.sqrt(n)


@pytest.mark.parametrize(("make", "expected"), [(ACONA, [1]), (ACONB, [0.25, 1]), (ACONC, [None, None, 1])])
def test_other_start_values(make, expected):
    for received, value in zip(values(built(make())), expected, strict=True):
        if value is not None:
            np.testing.assert_array_equal(received, np.full(4, value, "float32"))


@pytest.mark.parametrize("make", [ACONC, MetaACON])
def test_one_initializer_for_both_gives_different_numbers(make):
    start = keras.initializers.RandomNormal(0, 1)
    options = {"reduction": 2} if make is MetaACON else {}
    layer = built(make(p1_initializer=start, p2_initializer=start, **options))
    assert not np.any(keras.ops.convert_to_numpy(layer.p1) == keras.ops.convert_to_numpy(layer.p2))


def test_initializers_by_name_and_by_value():
    p1, p2, beta = values(built(ACONC("ones", "zeros", Constant(3))))
    assert (p1.tolist(), p2.tolist(), beta.tolist()) == ([1] * 4, [0] * 4, [3] * 4)
    p, _ = values(built(ACONB(p_initializer="zeros")))
    assert p.tolist() == [0] * 4


def test_regularizers_are_losses():
    penalty = keras.regularizers.L2(0.5)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            ACONA(Constant(2), beta_regularizer="l1"),
            ACONB(Constant(3), p_regularizer=penalty, beta_regularizer=penalty),
            ACONC(Constant(4), Constant(5), Constant(6), penalty, penalty, penalty),
            MetaACON(2, "layer", Constant(7), Constant(8), penalty, penalty),
        ]
    )
    squares = [3, 1, 4, 5, 6, 7, 8]  # L2 of four numbers each; L1 is 0.01 of their sum.
    expected = [0.01 * 4 * 2, *(0.5 * 4 * value**2 for value in squares)]
    assert [float(keras.ops.convert_to_numpy(loss)) for loss in model.losses] == pytest.approx(expected)


def test_constraints_hold_in_training():
    limits = {f"{name}_constraint": "non_neg" for name in ("p1", "p2", "beta")}
    layer = ACONC("zeros", "ones", **limits)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    model.fit(x, -3 * np.abs(x), batch_size=8, epochs=2, verbose=0)  # Wants a negative slope on the right.
    assert all(array.min() >= 0 for array in values(layer))
    assert any(array.min() == 0 for array in values(layer)[1:])


SHAPES = [
    ((None, 3), "channels_last", (3,)),
    ((None, 7, 3), "channels_last", (1, 3)),
    ((None, 4, 5, 3), "channels_last", (1, 1, 3)),
    ((None, 2, 4, 5, 3), "channels_last", (1, 1, 1, 3)),
    ((None, 3), "channels_first", (3,)),
    ((None, 3, 7), "channels_first", (3, 1)),
    ((None, 3, 4, 5), "channels_first", (3, 1, 1)),
    ((None, 3, 2, 4, 5), "channels_first", (3, 1, 1, 1)),
    ((None, None, None, 3), "channels_last", (1, 1, 3)),
    ((None, 3, None, None), "channels_first", (3, 1, 1)),
]


@pytest.mark.parametrize(("shape", "layout", "expected"), SHAPES)
@pytest.mark.parametrize("kind", [ACONA, ACONB, ACONC, MetaACON])
def test_a_number_for_each_channel(kind, shape, layout, expected):
    options = {"reduction": 2} if kind is MetaACON else {}
    layer = built(kind(data_format=layout, **options), shape)
    own = layer.weights[: 2 if kind is MetaACON else None]
    assert {tuple(weight.shape) for weight in own} == {expected}


def test_the_global_layout_is_the_default(make_acon, channels_first):
    layer = built(make_acon(), (None, 3, 4, 5))
    assert tuple(layer.trainable_weights[0].shape) == (3, 1, 1)
    assert make_acon(data_format="channels_last").data_format == "channels_last"


@pytest.mark.parametrize("training", [True, False])
def test_both_layouts_compute_the_same(make_acon, training, randomize, numpy):
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype("float32")
    last = randomize(built(make_acon(), x.shape))
    first = built(make_acon(data_format="channels_first"), (3, 6, 4, 5))
    for weight, other in zip(first.weights, last.weights, strict=True):
        weight.assign(keras.ops.reshape(other, weight.shape))
    received = numpy(first(np.moveaxis(x, -1, 1), training=training))
    np.testing.assert_allclose(np.moveaxis(received, 1, -1), numpy(last(x, training=training)), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "shared"),
    [
        ((None, 4, 5, 3), [1, 2]),
        ((None, 4, 5, 3), [1]),
        ((None, 4, 5, 3), [3]),
        ((None, 4, 5, 3), [1, 2, 3]),
        ((None, 4, None, 3), (2,)),
        ((None, 7, 3), 1),
        ((None, 7, 3), [1, 2]),
        ((None, 4, 5, 3), []),
    ],
)
@pytest.mark.parametrize("kind", [ACONA, ACONB, ACONC, MetaACON])
def test_shared_axes_are_those_of_prelu(kind, shape, shared):
    options = {"granularity": "layer"} if kind is MetaACON else {}
    layer = built(kind(shared_axes=shared, **options), shape)
    prelu = keras.layers.PReLU(shared_axes=shared or None)  # PReLU's None is "none shared".
    prelu.build(shape)
    assert {tuple(weight.shape) for weight in layer.weights} == {tuple(prelu.alpha.shape)}


def test_shared_axes_count_from_the_end_too():
    assert tuple(built(ACONA(shared_axes=[-1]), (None, 4, 5, 3)).beta.shape) == (4, 5, 1)


def test_a_built_layer_takes_other_sizes_but_no_other_channels():
    layer = built(ACONA(), (None, 4, 5, 3))
    assert tuple(layer(np.zeros((1, 8, 9, 3), "float32")).shape) == (1, 8, 9, 3)
    for shape in [(1, 4, 5, 1), (1, 4, 5, 6), (1, 4, 3)]:
        with pytest.raises(ValueError, match="expected"):
            layer(np.zeros(shape, "float32"))
