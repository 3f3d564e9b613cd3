"""ACON-A, ACON-B and ACON-C compute the paper's equations, and their gradients are the derivatives."""

import keras
import numpy as np
import pytest

from keras_actnas.layers import ACONA, ACONB, ACONC

Constant = keras.initializers.Constant


def smooth_maximum(first, second, beta):
    """Equation (2), its first line, for two values."""
    one, other = np.exp(beta * first), np.exp(beta * second)
    return (first * one + second * other) / (one + other)


EQUATIONS = {
    ACONA: lambda x, beta: smooth_maximum(x, 0 * x, beta),
    ACONB: lambda x, p, beta: smooth_maximum(x, p * x, beta),
    ACONC: lambda x, p1, p2, beta: smooth_maximum(p1 * x, p2 * x, beta),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((9, 4), {}),
        ((3, 5, 4), {}),
        ((2, 3, 4, 5), {}),
        ((2, 3, 4, 5), {"data_format": "channels_first"}),
        ((2, 3, 4, 5), {"shared_axes": [3]}),
        ((2, 3, 4, 5), {"shared_axes": []}),
        ((2, 2, 3, 2, 4), {}),
    ],
)
@pytest.mark.parametrize("kind", list(EQUATIONS))
def test_outputs_and_gradients(kind, shape, options, training, gradients, differences, randomize, assert_near):
    random = np.random.default_rng(1)
    x = random.normal(0, 2, shape).astype("float32")
    upstream = random.normal(0, 1, shape).astype("float32")
    layer = kind(**options)
    layer.build(shape)
    randomize(layer)
    arguments = [x.astype("float64"), *(keras.ops.convert_to_numpy(weight) for weight in layer.weights)]
    output, by_x, by_weights = gradients(layer, x, upstream, training)
    assert_near(output, EQUATIONS[kind](*arguments))
    expected = differences(EQUATIONS[kind], arguments, upstream)
    for received, wanted in zip([by_x, *by_weights], expected, strict=True):
        assert_near(received, wanted)


def acon_c(p1, p2, beta, dtype=None):
    return ACONC(Constant(p1), Constant(p2), Constant(beta), dtype=dtype)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("p1", "p2", "beta"), [(1, 0, 1), (1.2, -0.8, 0.5), (-0.5, 2, 3), (0.3, 0.1, 20), (-1, -2, 1), (0, 1, 0.1)]
)
def test_the_derivative_s_extremes(p1, p2, beta, training, gradients):
    # Equations (7) and (8); the paper solves (y - 2) e^y = y + 2, where y = (p1 - p2) beta x.
    y = np.linspace(-8, 8, 16001)
    x = (y / ((p1 - p2) * beta)).astype("float32").reshape(-1, 1)
    _, slope, _ = gradients(acon_c(p1, p2, beta), x, np.ones_like(x), training)
    high, low = max(p1, p2), min(p1, p2)
    assert slope.max() == pytest.approx(1.0998 * high - 0.0998 * low, abs=1e-3)
    assert slope.min() == pytest.approx(1.0998 * low - 0.0998 * high, abs=1e-3)
    # On a nearly flat top, float32 places the extreme only roughly.
    assert sorted((abs(y[slope.argmax()]), abs(y[slope.argmin()]))) == pytest.approx([2.39936] * 2, abs=0.02)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("p1", "p2"), [(1.5, -0.25), (-1, 0.5)])
def test_slopes_far_from_zero(p1, p2, training, gradients):
    # Equation (6) for p1 > p2; where p2 is the larger one, each is on the other side.
    x = np.array([[60.0], [-60.0]], "float32")
    _, slope, _ = gradients(acon_c(p1, p2, 1), x, np.ones_like(x), training)
    np.testing.assert_allclose(slope[:, 0], [max(p1, p2), min(p1, p2)], atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_limits_of_beta(training, numpy):
    x = np.linspace(-3, 3, 101, dtype="float32").reshape(-1, 1)
    p1, p2 = 1.25, -0.5
    largest = acon_c(p1, p2, 1e6)(x, training=training)
    np.testing.assert_allclose(numpy(largest), np.maximum(p1 * x, p2 * x), atol=1e-5)
    mean = acon_c(p1, p2, 0)(x, training=training)
    np.testing.assert_allclose(numpy(mean), (p1 * x + p2 * x) / 2, atol=1e-6)


@pytest.mark.parametrize("layer", [acon_c(1, 0, 1), ACONA(), ACONB(Constant(0))])
@pytest.mark.parametrize("training", [True, False])
def test_silu_is_a_special_case(layer, training, numpy):
    x = np.random.default_rng(0).normal(0, 3, (40, 3)).astype("float32")
    np.testing.assert_allclose(numpy(layer(x, training=training)), numpy(keras.activations.silu(x)), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", [ACONA, ACONB, lambda dtype: acon_c(1.2, -0.8, 1, dtype)], ids=["a", "b", "c"])
def test_gradients_of_large_inputs_are_finite(make, dtype, training, gradients):
    # Above 256 the square of an input is no float16 any more.
    x = np.linspace(-1000, 1000, 81, dtype="float32").reshape(-1, 1)
    output, by_x, by_weights = gradients(make(dtype=dtype), x, np.ones_like(x), training)
    assert len(by_weights) >= 1
    assert all(np.isfinite(value).all() for value in [output, by_x, *by_weights])
