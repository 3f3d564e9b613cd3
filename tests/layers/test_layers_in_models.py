"""The layers in models: as `activation=` arguments, under dtype policies, with masks, compiled, with unknown sizes."""

import math

import keras
import numpy as np
import pytest

from keras_actnas.layers import ACON, StochasticPEA, WeightedPEA

L = keras.layers
BACKEND = keras.backend.backend()

ARGUMENTS = {"acon": (lambda: ACON(), 3), "pea": (lambda: WeightedPEA("gelu", alpha=0.3), 1)}
HOSTS = {
    "conv1d": (lambda **options: L.Conv1D(4, 3, **options), (8, 3)),
    "conv2d": (lambda **options: L.Conv2D(4, 3, **options), (8, 8, 3)),
    "conv3d": (lambda **options: L.Conv3D(4, 3, **options), (5, 5, 5, 3)),
    "depthwise": (lambda **options: L.DepthwiseConv2D(3, **options), (8, 8, 3)),
    "dense": (lambda **options: L.Dense(4, **options), (3,)),
}


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("argument", list(ARGUMENTS))
@pytest.mark.parametrize("host", list(HOSTS))
def test_an_activation_argument_is_the_separate_layer(host, argument, numpy):
    (make_host, shape), (make, count) = HOSTS[host], ARGUMENTS[argument]
    x = images(2, *shape)
    joined, plain, separate = make_host(activation=make()), make_host(), make()
    output = joined(x)
    separate(plain(x))
    assert len(joined.weights) == 2 + count == len(plain.weights) + len(separate.weights)
    for weight, other in zip([*plain.weights, *separate.weights], joined.weights, strict=True):
        assert weight.shape == other.shape
        weight.assign(other)
    np.testing.assert_allclose(numpy(output), numpy(separate(plain(x))), atol=1e-6)


@pytest.mark.parametrize("argument", list(ARGUMENTS))
def test_activation_arguments_are_trained_saved_and_cloned(argument, tmp_path, numpy):
    make, count = ARGUMENTS[argument]
    inputs = keras.Input((6, 6, 2))
    x = L.Conv2D(4, 3, activation=make())(inputs)
    x = L.DepthwiseConv2D(1, activation=make())(x)
    x = L.Conv3D(2, (1, 2, 2), activation=make())(L.Reshape((4, 4, 4, 1))(x))
    x = L.Conv1D(3, 2, activation=make())(L.Reshape((12, 6))(x))
    model = keras.Model(inputs, L.Dense(2, activation=make())(L.Flatten()(x)))
    x = images(8, 6, 6, 2)
    model(x)  # Keras builds an activation argument in the first call, not when the functional model is put together.
    assert len(model.weights) == 5 * (2 + count)

    before = [numpy(weight) for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, images(8, 2), epochs=1, verbose=0)
    assert all(np.any(numpy(weight) != old) for weight, old in zip(model.trainable_weights, before, strict=True))
    for layer in model.layers:
        if argument == "pea" and hasattr(layer, "activation"):
            layer.activation.alpha = 0.6

    expected = numpy(model(x))
    model.save(tmp_path / "net.keras")
    np.testing.assert_array_equal(numpy(keras.models.load_model(tmp_path / "net.keras")(x)), expected)
    clone = keras.models.clone_model(model)
    assert not {id(weight) for weight in clone.weights} & {id(weight) for weight in model.weights}
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(numpy(clone(x)), expected)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_mixed_precision(make_layer, dtype, training, gradients, randomize, numpy):
    x, upstream = images(4, 3, 5, 6), images(4, 3, 5, 6, seed=1)
    half, full = make_layer(dtype=f"mixed_{dtype}"), make_layer()
    for layer in (half, full):
        layer.build(x.shape)
        randomize(layer)
    assert {weight.dtype for weight in half.weights if "seed" not in weight.name} <= {"float32"}
    assert keras.backend.standardize_dtype(half(x, training=False).dtype) == dtype
    assert half.compute_output_spec(keras.KerasTensor(x.shape, dtype)).dtype == dtype
    received, expected = (gradients(layer, x, upstream, training) for layer in (half, full))
    tolerance = {"float16": 0.02, "bfloat16": 0.15}[dtype]
    for one, other in zip([*received[:2], *received[2]], [*expected[:2], *expected[2]], strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(1, np.abs(other).max()))


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_sums_of_gradients_beyond_the_range_of_float16(make_acon, dtype, gradients):
    x = np.full((16, 64, 64, 2), 2, "float32")  # 65536 numbers a channel.
    x[:, ::2] = 1.5
    starts = {"p1_initializer": keras.initializers.Constant(0.5), "p2_initializer": "ones"}
    starts = starts if hasattr(make_acon(), "p1_initializer") else {}
    received, expected = (
        gradients(make_acon(dtype=dtype, **starts), x, np.full_like(x, 4), True)[2][: len(starts) or None]
        for dtype in (dtype, "float32")
    )
    largest = max(np.abs(value).max() for value in expected)
    assert largest > 66_000
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=0.03 * largest)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX computes in float32 unless it was started with x64 enabled")
def test_float64(make_layer, randomize):
    x = images(3, 2, 4, 4).astype("float64")
    double, single = make_layer(dtype="float64"), make_layer()
    for layer in (double, single):
        layer.build(x.shape)
        randomize(layer)
    output = keras.ops.convert_to_numpy(keras.ops.stop_gradient(double(x)))
    assert output.dtype == "float64"
    np.testing.assert_allclose(output, keras.ops.convert_to_numpy(keras.ops.stop_gradient(single(x))), atol=1e-5)
    assert keras.backend.standardize_dtype(double(x, training=True).dtype) == "float64"


@pytest.mark.parametrize("shape", [(None, None, 4), (None, 4), (5, None, 2, 4)])
def test_unknown_sizes(make_layer, shape, numpy):
    inputs = keras.Input(shape)
    layer = make_layer()
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, *shape)
    for batch, size in [(1, 3), (2, 7)]:
        x = images(batch, *(size if length is None else length for length in shape))
        np.testing.assert_allclose(model.predict(x, verbose=0), numpy(layer(x)), atol=1e-6)


@pytest.mark.parametrize("before", ["embedding", "masking"])
def test_masks_pass_through(make_layer, before, numpy):
    tokens = np.array([[3, 1, 0, 0], [2, 0, 2, 0]])
    first = {"embedding": L.Embedding(5, 4, mask_zero=True), "masking": L.Masking(0.0)}[before]
    x = tokens if before == "embedding" else images(2, 4, 4) * (tokens != 0)[..., None]
    inputs = keras.Input(x.shape[1:], dtype="int32" if before == "embedding" else "float32")
    masked = first(inputs)
    activated = make_layer()(masked)
    model = keras.Model(inputs, [activated, L.GlobalAveragePooling1D()(activated)])
    values, means = (numpy(output) for output in model(x))
    expected = [row[token != 0].mean(axis=0) for row, token in zip(values, tokens, strict=True)]
    np.testing.assert_allclose(means, expected, atol=1e-6)


def test_meta_acon_gets_the_mask_of_a_model(make_meta, numpy):
    # The same sequence, padded with different numbers of zeros: without the mask, the mean would see them.
    inputs = keras.Input((None,), dtype="int32")
    model = keras.Model(inputs, make_meta()(L.Embedding(5, 4, mask_zero=True)(inputs)))
    model.layers[1].embeddings.assign(5 * images(5, 4))
    short, long = numpy(model(np.array([[3, 1]]))), numpy(model(np.array([[3, 1, 0, 0, 0]])))
    np.testing.assert_allclose(short, long[:, :2], atol=1e-6)


@pytest.mark.compiles
def test_compiled_training(make_every):
    def losses(**options):
        keras.utils.set_random_seed(0)
        layers = [layer for layer in make_every() if "Stochastic" not in type(layer).__name__]
        model = keras.Sequential([keras.Input((4, 4, 2)), L.Conv2D(4, 1), *layers, L.Flatten(), L.Dense(1)])
        model.compile("sgd", "mse", **options)
        return model.fit(images(12, 4, 4, 2), images(12, 1), epochs=3, batch_size=4, shuffle=False, verbose=0).history

    np.testing.assert_allclose(losses(jit_compile=True)["loss"], losses(run_eagerly=True)["loss"], rtol=1e-4)


@pytest.mark.compiles
def test_a_compiled_stochastic_ensemble_draws_anew():
    model = keras.Sequential(
        [keras.Input((100,)), StochasticPEA("identity", seed=1, alpha=0.5), L.Dense(1, use_bias=False)]
    )
    model.layers[1].kernel.assign(np.zeros((100, 1)))
    model.compile(keras.optimizers.SGD(1.0), lambda y, p: p, jit_compile=True)
    steps = []
    for _ in range(3):  # The gradient of the kernel is what the ensemble gave.
        before = keras.ops.convert_to_numpy(model.layers[1].kernel)
        model.fit(-np.ones((1, 100), "float32"), np.zeros((1, 1)), verbose=0)
        steps.append(before - keras.ops.convert_to_numpy(model.layers[1].kernel))
    draws = [np.round(step[:, 0]) for step in steps]
    assert all(set(draw) == {0, -1} for draw in draws)
    assert not np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[1], draws[2])
    assert np.mean(draws) == pytest.approx(-0.5, abs=4 * 0.5 / math.sqrt(300))
