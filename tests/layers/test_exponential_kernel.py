"""The exponential kernel: exp where it is safe, finite everywhere, and training that exp alone would end in NaN."""

import math
import re

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.layers import ExponentialKernel

DTYPES = ["float32", "mixed_float16", "mixed_bfloat16"]
LARGEST = {"float32": 1e37, "mixed_float16": 65504.0, "mixed_bfloat16": 1e37}


def expected(x, threshold):
    x = np.asarray(x, "float64")
    with np.errstate(over="ignore"):
        return np.where(x <= threshold, np.exp(x), math.exp(threshold) * (1 + np.log1p(np.maximum(x - threshold, 0))))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("threshold", [-1.0, 0, 2.5, 4.0])
def test_the_equation_and_its_derivative(threshold, training, gradients):
    x = np.concatenate([np.linspace(-12, 12, 49), [threshold]]).astype("float32")
    upstream = np.random.default_rng(0).normal(size=x.shape).astype("float32")
    output, by_x, _ = gradients(ExponentialKernel(threshold), x, upstream, training)
    np.testing.assert_allclose(output, expected(x, threshold), rtol=1e-6)
    inside = x != threshold  # There, backends halve the gradient of a minimum unless the layer gives its own.
    inside |= training
    derivative = np.exp(np.minimum(x, threshold)) / (1 + np.maximum(x - threshold, 0))
    np.testing.assert_allclose(by_x[inside], (upstream * derivative)[inside], rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_up_to_the_threshold_it_is_exp_to_the_last_bit(dtype, numpy):
    layer = ExponentialKernel(dtype=dtype)
    x = keras.ops.cast(np.linspace(-30, layer.threshold, 2001).astype("float32"), layer.compute_dtype)
    np.testing.assert_array_equal(numpy(layer(x)), numpy(keras.ops.exp(x)))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_gradients_are_finite_for_all_inputs(dtype, training, gradients):
    layer = ExponentialKernel(dtype=dtype)
    sizes = np.geomspace(1e-6, LARGEST[dtype], 60)
    x = np.concatenate([-sizes[::-1], [0], sizes]).astype("float32")
    output, by_x, _ = gradients(layer, x, np.ones_like(x), training)
    assert np.all(np.isfinite(output)) and np.all(np.isfinite(by_x))
    assert np.all(np.diff(output) >= 0) and np.all(output >= 0)
    assert np.all(by_x[x > -9] > 0)  # In float16 exp(-10) is nearly nothing.
    assert by_x.max() <= 1.01 * math.exp(layer.threshold)
    rising = np.diff(by_x) >= 0
    assert np.all(rising[x[1:] < layer.threshold]) and not np.any(rising[x[:-1] > layer.threshold])


def test_what_is_no_number_stays_visible(numpy):
    assert np.isnan(numpy(ExponentialKernel(dtype="mixed_float16")(np.array([np.nan], "float32")))[0])


@pytest.mark.parametrize(
    ("dtype", "threshold", "words"),
    [
        ("float32", float("nan"), "nan"),
        ("float32", float("inf"), "inf"),
        ("float32", "4", "'4'"),
        ("float32", None, "None"),
        ("float32", 84.5, "84.2"),
        ("mixed_float16", 9, "8.5"),
    ],
)
def test_thresholds(dtype, threshold, words):
    with pytest.raises(InputError, match="Expected threshold.+Received: ") as caught:
        ExponentialKernel(threshold, dtype=dtype)
    assert words in str(caught.value)


@pytest.mark.parametrize(("dtype", "largest"), [("float32", 3.4e38), ("float16", 65504.0), ("bfloat16", 3.38e38)])
def test_the_largest_threshold(dtype, largest, numpy):
    with pytest.raises(InputError) as caught:
        ExponentialKernel(1000, dtype=dtype)
    layer = ExponentialKernel(float(re.search(r"up to (\d+\.\d)", str(caught.value))[1]), dtype=dtype)
    (value,) = numpy(layer(np.array([largest], "float32")))
    assert largest / 2 < value < np.inf


def losses(psi, learning_rate, spread):
    """Returns the losses of a small network with psi behind a dense layer, of weights with a standard deviation."""
    random = np.random.default_rng(0)
    x = random.normal(size=(256, 8)).astype("float32")
    y = (x @ random.normal(size=(8, 3))).argmax(axis=-1)
    hidden, head = (keras.initializers.RandomNormal(stddev=std, seed=1) for std in (spread, 0.02))
    layers = [keras.layers.LayerNormalization(), keras.layers.Dense(16, kernel_initializer=hidden), psi]
    model = keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(3, kernel_initializer=head)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(learning_rate), loss, jit_compile=False)
    return model.fit(x, y, batch_size=32, epochs=20, shuffle=False, verbose=0).history["loss"]


def test_training_goes_on_where_exp_ends_in_nan():
    assert np.isnan(losses(keras.layers.Activation("exponential"), 0.1, 1.0)[-1])
    stable = losses(ExponentialKernel(), 0.1, 1.0)
    assert np.all(np.isfinite(stable))
    assert stable[-1] < 0.6 < 1.1 < stable[0]


def test_where_exp_trains_the_layer_trains_alike():
    expected = losses(keras.layers.Activation("exponential"), 0.02, 0.2)
    np.testing.assert_allclose(losses(ExponentialKernel(), 0.02, 0.2), expected, rtol=0.02)
