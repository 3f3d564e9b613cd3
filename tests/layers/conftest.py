"""What the tests of the layers share: a layer of each kind, and gradients on every backend and by differences."""

import inspect

import keras
import numpy as np
import pytest

from keras_actnas.layers import (
    ACONA,
    ACONB,
    ACONC,
    ExponentialKernel,
    LayerScale,
    MetaACON,
    PartialActivation,
    StochasticPEA,
    WeightedPEA,
)
from keras_actnas.layers.channelwise import ChannelwiseActivation

KINDS = {
    "acon_a": (ACONA, {}),
    "acon_b": (ACONB, {}),
    "acon_c": (ACONC, {}),
    "meta_channel": (MetaACON, {"reduction": 2}),
    "meta_layer": (MetaACON, {"granularity": "layer"}),
    "meta_pixel": (MetaACON, {"granularity": "pixel"}),
    "weighted_pea": (WeightedPEA, {"alpha": 0.3}),
    "stochastic_pea": (StochasticPEA, {"alpha": 0.3, "seed": 1}),
    "exponential": (ExponentialKernel, {"threshold": 0.5}),
    "partial": (PartialActivation, {"activation": "silu", "linear_fraction": 0.5}),
    "layer_scale": (LayerScale, {"initial": 0.5}),
}


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(params=list(KINDS))
def make_layer(request):
    """A function that returns a new layer of one kind; a test that takes it runs once for each kind."""
    return _maker(request.param)


@pytest.fixture(params=[name for name, (kind, _) in KINDS.items() if issubclass(kind, ChannelwiseActivation)])
def make_acon(request):
    return _maker(request.param)


@pytest.fixture(params=[kind for kind in KINDS if "meta" in kind])
def make_meta(request):
    return _maker(request.param)


@pytest.fixture(params=[kind for kind in KINDS if "pea" in kind])
def make_pea(request):
    return _maker(request.param)


@pytest.fixture
def make_every():
    """A function that returns a new layer of each kind, in a list."""
    return lambda **options: [_maker(kind)(**options) for kind in KINDS]


def _maker(kind):
    kind, arguments = KINDS[kind]
    return lambda **options: kind(**{**arguments, **options})


@pytest.fixture
def channels_first():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(before)


@pytest.fixture
def randomize():
    """A function that gives a built layer random parameters and BatchNorm values, and returns the layer."""

    def give(layer, seed=0):
        random = np.random.default_rng(seed)
        for weight in layer.weights:
            if weight.name not in ("alpha", "seed_generator_state"):
                low = 0.5 if weight.name in ("gamma", "moving_variance", "beta") else -1.5
                weight.assign(random.uniform(low, 1.5, weight.shape))
        return layer

    return give


@pytest.fixture
def numpy():
    """A function: tensor or variable of any backend and type -> float32 or float64 array."""

    def convert(tensor):
        half = keras.backend.standardize_dtype(tensor.dtype) in ("float16", "bfloat16")
        return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32") if half else tensor))

    return convert


@pytest.fixture
def gradients(numpy):
    """A function: layer, x, upstream -> output, gradient by x, and gradients by the trainable weights, in order."""
    function = {"tensorflow": _by_tensorflow, "jax": _by_jax, "torch": _by_torch}[keras.backend.backend()]

    def compute(layer, x, upstream, training):
        x = keras.ops.convert_to_tensor(x)
        if not layer.built:
            layer.build(x.shape)
        output, by_x, by_weights = function(layer, x, upstream, training)
        assert all(keras.backend.standardize_dtype(value.dtype) != "float16" for value in by_weights)
        return numpy(output), numpy(by_x), [numpy(value) for value in by_weights]

    return compute


def _by_tensorflow(layer, x, upstream, training):
    import tensorflow as tf

    weights = [weight.value for weight in layer.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x, training=training)
    by_x, *by_weights = tape.gradient(output, [x, *weights], tf.cast(upstream, output.dtype))
    return output, by_x, by_weights


def _by_jax(layer, x, upstream, training):
    import jax

    state = [weight.value for weight in layer.non_trainable_variables]
    options = {"training": training} if "training" in inspect.signature(layer.call).parameters else {}

    @jax.jit  # Compiled as a whole: operation by operation takes a minute longer over all tests.
    def compute(x, weights, upstream):
        def function(x, weights):
            return layer.stateless_call(weights, state, x, **options)[0]

        output, backward = jax.vjp(function, x, weights)
        return output, *backward(upstream.astype(output.dtype))

    return compute(x, [weight.value for weight in layer.trainable_variables], jax.numpy.asarray(upstream))


def _by_torch(layer, x, upstream, training):
    import torch

    x = x.clone().requires_grad_()
    output = layer(x, training=training)
    weights = [weight.value for weight in layer.trainable_weights]
    upstream = torch.as_tensor(np.asarray(upstream)).to(output.dtype)
    by_x, *by_weights = torch.autograd.grad(output, [x, *weights], upstream)
    return output.detach(), by_x, by_weights


@pytest.fixture
def differences():
    """A function: NumPy function, its arguments, upstream -> gradients by each argument, as central differences."""

    def compute(function, arguments, upstream, step=1e-6):
        arguments = [np.array(argument, "float64") for argument in arguments]
        results = []
        for argument in arguments:
            result = np.zeros_like(argument)
            for index in np.ndindex(argument.shape):
                start = argument[index]
                argument[index] = start + step
                above = function(*arguments)
                argument[index] = start - step
                result[index] = np.sum(upstream * (above - function(*arguments))) / (2 * step)
                argument[index] = start
            results.append(result)
        return results

    return compute


@pytest.fixture
def assert_near():
    """A function that compares arrays to 1e-5, or to that share of the largest number where that is above 1."""

    def compare(received, expected, share=1e-5):
        assert received.shape == expected.shape
        np.testing.assert_allclose(received, expected, rtol=0, atol=share * max(1.0, np.abs(expected).max()))

    return compare
