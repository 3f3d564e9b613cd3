"""The ensembles of PEA compute the paper's equations; stochastic draws are drawn as they should be."""

import math

import keras
import numpy as np
import pytest

from keras_actnas.layers import StochasticPEA, WeightedPEA, activation_function

_erf = np.vectorize(math.erf)
ACTIVATIONS = {
    "swish": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "relu6": lambda x: np.clip(x, 0, 6),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.1 * x),
    "leaky_relu(0.3)": lambda x: np.where(x > 0, x, 0.3 * x),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
}


def numbers(seed=5, shape=(4, 6, 5)):
    random = np.random.default_rng(seed)
    return random.normal(0, 4, shape).astype("float32"), random.normal(0, 1, shape).astype("float32")


@keras.saving.register_keras_serializable(package="keras_actnas_tests")
def bump(x):
    """An activation of a user's own."""
    return x * keras.ops.exp(-keras.ops.square(x))


def numpy_bump(x):
    return x * np.exp(-np.square(x))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_weighted_is_equation_1(name, alpha, training, gradients, differences, assert_near):
    x, upstream = numbers()

    def statement(x):
        return alpha * np.maximum(x, 0) + (1 - alpha) * ACTIVATIONS[name](x)

    output, by_x, _ = gradients(WeightedPEA(name, alpha), x, upstream, training)
    assert_near(output, statement(x.astype("float64")))
    assert_near(by_x, differences(statement, [x], upstream)[0])


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_stochastic_is_equation_3_in_training(name, gradients, differences, assert_near):
    x, upstream = numbers(shape=(20, 25))
    layer = StochasticPEA(name, seed=3, alpha=0.4)
    output, by_x, _ = gradients(layer, x, upstream, True)
    relu, smooth = np.maximum(x, 0), ACTIVATIONS[name](x.astype("float64"))
    r = np.abs(output - relu) < np.abs(output - smooth)
    assert_near(output, np.where(r, relu, smooth))
    if name not in ("identity", "relu"):  # Of these, not every element tells which was drawn.
        differ = np.abs(relu - smooth) > 1e-3
        assert 0.25 < r[differ].mean() < 0.55
    expected = differences(lambda x: np.where(r, np.maximum(x, 0), ACTIVATIONS[name](x)), [x], upstream)[0]
    assert_near(by_x, expected)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_stochastic_is_the_expectation_in_inference(name, gradients, differences, assert_near):
    x, upstream = numbers()

    def statement(x):
        return 0.4 * np.maximum(x, 0) + 0.6 * ACTIVATIONS[name](x)

    layer = StochasticPEA(name, alpha=0.4)
    for training in (False, None):  # None: as at the top level outside `fit`.
        output, by_x, _ = gradients(layer, x, upstream, training)
        assert_near(output, statement(x.astype("float64")))
        assert_near(by_x, differences(statement, [x], upstream)[0])


@pytest.mark.parametrize("kind", [WeightedPEA, StochasticPEA])
@pytest.mark.parametrize("name", ["swish", "gelu", "mish"])
def test_gradients_at_zero(kind, name, gradients):
    # ReLU's derivative at 0 is 0, as in Keras.
    x = np.zeros((1, 4), "float32")
    smooth_slope = {"swish": 0.5, "gelu": 0.5, "mish": 0.6}[name]
    for alpha in (0.0, 0.25, 1.0):
        _, by_x, _ = gradients(kind(name, alpha=alpha), x, np.ones_like(x), False)
        np.testing.assert_allclose(by_x, (1 - alpha) * smooth_slope, atol=1e-6)
    for alpha, expected in [(0.0, smooth_slope), (1.0, 0.0)]:
        _, by_x, _ = gradients(kind(name, alpha=alpha), x, np.ones_like(x), True)
        np.testing.assert_allclose(by_x, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["swish", "gelu", "mish", "hard_swish"])
@pytest.mark.parametrize("kind", [WeightedPEA, StochasticPEA])
def test_the_ends_are_exactly_the_two_activations(kind, name, training, dtype, numpy):
    x = keras.ops.cast(numbers(shape=(300, 30))[0], kind(dtype=dtype).compute_dtype)
    for alpha, function in [(0.0, activation_function(name)), (1.0, keras.activations.relu)]:
        layer = kind(name, alpha=alpha, dtype=dtype)
        np.testing.assert_array_equal(numpy(layer(x, training=training)), numpy(function(x)))


def share_of_relu(layer, shape=(400, 500)):
    """Returns which elements became relu(-1) = 0; with the identity, the others are -1."""
    return keras.ops.convert_to_numpy(layer(-np.ones(shape, "float32"), training=True)) == 0


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("alpha", [0.01, 0.3, 0.5, 0.9, 0.999])
def test_frequency_of_relu(alpha, dtype):
    drawn = -keras.ops.cast(keras.ops.ones((400, 500)), "float32")
    output = StochasticPEA("identity", seed=11, alpha=alpha, dtype=dtype)(drawn, training=True)
    r = keras.ops.convert_to_numpy(keras.ops.cast(output, "float32")) == 0
    assert r.mean() == pytest.approx(alpha, abs=3 * math.sqrt(alpha * (1 - alpha) / r.size))


def test_draws_are_independent():
    layer = StochasticPEA("identity", seed=12, alpha=0.5)
    first, second = share_of_relu(layer), share_of_relu(layer)
    limit = 4 / math.sqrt(first.size)
    pairs = [(first, second), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])]
    for one, other in pairs:  # Between calls, images and neighbours.
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < limit
    # No image or channel is drawn as a whole.
    assert first.mean(axis=0).std() == pytest.approx(0.5 / math.sqrt(len(first)), rel=0.2)
    assert first.mean(axis=1).std() == pytest.approx(0.5 / math.sqrt(len(first[0])), rel=0.2)


def test_a_seed_repeats_the_draws_and_layers_without_one_differ():
    one, same, other = (share_of_relu(StochasticPEA("identity", seed=seed, alpha=0.5)) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    free = [share_of_relu(StochasticPEA("identity", alpha=0.5)) for _ in range(2)]
    assert not np.array_equal(*free)


def trained(seed):
    """Returns the weights after a short training; all that differs between calls is the layer's seed."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(8)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(StochasticPEA("gelu", seed=seed, alpha=0.5)(hidden)))
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
    model.fit(x, x[:, :1], batch_size=8, epochs=2, shuffle=False, verbose=0)
    return [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]


def test_a_training_run_repeats_with_its_seed():
    one, same, other = trained(7), trained(7), trained(8)
    assert all(np.array_equal(*pair) for pair in zip(one, same, strict=True))
    assert not any(np.array_equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_alpha_is_a_weight_that_is_not_trained(make_pea, training):
    layer = make_pea()
    assert layer.alpha == 0.3
    layer(np.ones((2, 3), "float32"), training=training)
    assert float(layer.alpha) == pytest.approx(0.3)
    assert not layer.trainable_weights
    assert [weight.name for weight in layer.non_trainable_weights] == ["alpha"]
    layer.alpha = 0.75
    assert float(layer.alpha) == 0.75
    assert layer.get_config()["alpha"] == 0.3


def test_alpha_can_be_set_before_building(make_pea, numpy):
    layer = make_pea(activation="identity")
    layer.alpha = 1.0
    assert numpy(layer(-np.ones((2, 3), "float32"))).max() == 0
    assert layer.get_config()["alpha"] == 1.0


@pytest.mark.parametrize("training", [True, False])
def test_a_function_of_the_user_s_own(make_pea, training, gradients, differences, assert_near, tmp_path):
    x, upstream = numbers(shape=(6, 5))
    x /= 4
    layer = make_pea(activation=bump)
    output, by_x, _ = gradients(layer, x, upstream, training)
    relu, own = np.maximum(x, 0), numpy_bump(x.astype("float64"))
    if training and isinstance(layer, StochasticPEA):
        share = (np.abs(output - relu) < np.abs(output - own)).astype("float64")
    else:
        share = 0.3
    assert_near(output, share * relu + (1 - share) * own)
    expected = differences(lambda x: share * np.maximum(x, 0) + (1 - share) * numpy_bump(x), [x], upstream)
    assert_near(by_x, expected[0])

    model = keras.Sequential([keras.Input((5,)), make_pea(activation=bump)])
    model.save(tmp_path / "own.keras")
    again = keras.models.load_model(tmp_path / "own.keras")
    assert again.layers[0].activation is bump
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("name", ["leaky_relu", "hard_tanh", "celu", "softsign", "relu6"])
@pytest.mark.parametrize("make", [WeightedPEA, StochasticPEA])
def test_functions_of_keras_stay_what_they_are(make, name, tmp_path):
    """Its bare name in a file might be that of another activation: Keras's leaky ReLU has another slope than ours."""
    x = np.array([[-4.0, -1.0, 0.5, 9.0]], "float32")
    model = keras.Sequential([keras.Input((4,)), make(getattr(keras.activations, name))])
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "net.keras")
    for again in (keras.models.load_model(tmp_path / "net.keras"), keras.models.clone_model(model)):
        np.testing.assert_array_equal(again.predict(x, verbose=0), expected)
