"""Meta-ACON computes beta as the authors' code does, and ignores masked positions."""

import keras
import numpy as np
import pytest

from keras_actnas.layers import MetaACON


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def acon_c(x, p1, p2, beta):
    """Equation (4)."""
    return (p1 - p2) * x * sigmoid(beta * (p1 - p2) * x) + p2 * x


def batch_norm(x, gamma, beta, moving, training):
    mean, variance = (x.mean(0), x.var(0)) if training else moving
    return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta


def channel_statement(pixels, moving, training):
    """Returns meta-ACON as a NumPy function; `pixels` are the axes of the mean, `moving` each norm's two statistics."""

    def function(x, p1, p2, kernel1, bias1, gamma1, beta1, kernel2, bias2, gamma2, beta2):
        pooled = x.mean(axis=pixels) if pixels else x
        hidden = batch_norm(pooled @ kernel1 + bias1, gamma1, beta1, moving[0], training)
        beta = sigmoid(batch_norm(hidden @ kernel2 + bias2, gamma2, beta2, moving[1], training))
        return acon_c(x, p1, p2, np.expand_dims(beta, pixels))

    return function


def in_order(layer):
    """Returns the layer's trainable weights in the order of the statement's arguments."""
    inner = [layer.reduce, layer.reduce_norm, layer.expand, layer.expand_norm]
    return [layer.p1, layer.p2, *(weight for one in inner for weight in one.trainable_weights)]


SHAPES = [((6, 4), "channels_last"), ((5, 3, 4), "channels_last"), ((5, 2, 3, 4), "channels_last")]
SHAPES += [((5, 4, 2, 3), "channels_first"), ((5, 2, 1, 2, 4), "channels_last")]


def axes(shape, layout):
    return tuple(range(1, len(shape) - 1)) if layout == "channels_last" else tuple(range(2, len(shape)))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("shape", "layout"), SHAPES)
def test_granularity_channel(shape, layout, training, gradients, differences, randomize, assert_near):
    random = np.random.default_rng(2)
    x = random.normal(0.3, 1.5, shape).astype("float32")
    upstream = random.normal(0, 1, shape).astype("float32")
    layer = MetaACON(reduction=2, data_format=layout)
    layer.build(shape)
    randomize(layer)
    norms = [layer.reduce_norm, layer.expand_norm]
    moving = [[keras.ops.convert_to_numpy(weight) for weight in norm.non_trainable_weights] for norm in norms]
    statement = channel_statement(axes(shape, layout), np.array(moving, "object"), training)
    arguments = [x, *(keras.ops.convert_to_numpy(weight) for weight in in_order(layer))]
    output, by_x, by_weights = gradients(layer, x, upstream, training)
    assert_near(output, statement(*(argument.astype("float64") for argument in arguments)))
    order = [next(i for i, one in enumerate(layer.trainable_weights) if one is weight) for weight in in_order(layer)]
    expected = differences(statement, arguments, upstream)
    for received, wanted in zip([by_x, *(by_weights[index] for index in order)], expected, strict=True):
        assert_near(
            received, wanted, share=3e-5
        )  # Through two normalizations, whose gradients are differences of sums.


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("granularity", ["layer", "pixel"])
@pytest.mark.parametrize(("shape", "layout"), SHAPES)
def test_granularities_layer_and_pixel(
    shape, layout, granularity, training, gradients, differences, randomize, assert_near
):
    random = np.random.default_rng(3)
    x = random.normal(0.3, 1.5, shape).astype("float32")
    upstream = random.normal(0, 1, shape).astype("float32")
    layer = MetaACON(granularity=granularity, data_format=layout)
    layer.build(shape)
    randomize(layer)

    def statement(x, p1, p2):
        evidence = x if granularity == "pixel" else x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)
        return acon_c(x, p1, p2, sigmoid(evidence))

    arguments = [x.astype("float64"), *(keras.ops.convert_to_numpy(weight) for weight in layer.weights)]
    output, by_x, by_weights = gradients(layer, x, upstream, training)
    assert_near(output, statement(*arguments))
    for received, wanted in zip([by_x, *by_weights], differences(statement, arguments, upstream), strict=True):
        assert_near(received, wanted)


@pytest.mark.parametrize(("reduction", "channels", "units"), [(16, 16, 16), (16, 512, 32), (4, 8, 4), (1, 8, 8)])
def test_hidden_units(reduction, channels, units):
    layer = MetaACON(reduction=reduction)
    layer.build((None, 2, 2, channels))
    assert tuple(layer.reduce.kernel.shape) == (channels, units)
    assert tuple(layer.expand.kernel.shape) == (units, channels)
    assert len(layer.trainable_weights) == 10 and len(layer.non_trainable_weights) == 4


def test_training_moves_the_normalizations():
    layer = MetaACON(reduction=2)
    x = np.random.default_rng(0).normal(5, 1, (8, 3, 3, 4)).astype("float32")
    for training, moved in [(False, False), (True, True)]:
        layer(x, training=training)
        means = [norm.moving_mean for norm in (layer.reduce_norm, layer.expand_norm)]
        assert all(np.any(keras.ops.convert_to_numpy(mean) != 0) == moved for mean in means)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_masked_steps_do_not_count(make_meta, layout, training, randomize, numpy):
    random = np.random.default_rng(4)
    mask = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], "bool")
    x = random.normal(1, 2, (3, 5, 4)).astype("float32")
    other = np.where(mask[..., None], x, random.normal(50, 2, x.shape)).astype("float32")
    layer = make_meta(data_format=layout)
    lay_out = (lambda value: np.moveaxis(value, 1, 2)) if layout == "channels_first" else (lambda value: value)
    layer.build(lay_out(x).shape)
    randomize(layer)

    def apply(value, mask):
        mask = None if mask is None else keras.ops.convert_to_tensor(mask)
        return lay_out(numpy(layer(lay_out(value), mask=mask, training=training)))

    expected = apply(x, mask)
    np.testing.assert_allclose(apply(other, mask)[mask], expected[mask], atol=1e-5)
    if not training:  # In training the images of a batch see each other through the normalization.
        alone = apply(x[:1, :3], None)  # Sequence 0 without its masked end.
        np.testing.assert_allclose(expected[0, :3], alone[0], atol=1e-5)


def test_a_sequence_that_is_masked_altogether_is_finite(make_meta, numpy):
    mask = keras.ops.convert_to_tensor(np.zeros((2, 3), "bool"))
    assert np.isfinite(numpy(make_meta()(np.ones((2, 3, 4), "float32"), mask=mask))).all()


def test_the_mean_of_many_float16_pixels_is_exact_enough(numpy):
    # The sum over 512 x 512 pixels of 4 is 2**20, sixteen times what float16 can hold.
    x = np.full((1, 512, 512, 1), 4, "float16")
    half = MetaACON(granularity="layer", p1_initializer="ones", p2_initializer="zeros", dtype="mixed_float16")
    expected = 4 * sigmoid(4 * sigmoid(4.0))
    np.testing.assert_allclose(numpy(half(x))[0, 0], expected, atol=0.01)
