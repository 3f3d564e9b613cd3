"""AFRB: figure 3 against an implementation in NumPy, its gradients, its loss, and what Keras promises of a layer."""

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.layers import AFRB
from keras_actnas.layers.afrb import afrb_layers

L = keras.layers
BACKEND = keras.backend.backend()
JIT = BACKEND == "jax"  # Where a test does not care: what is quickest for a few steps.
EPSILON = 1e-3
TRAINED = 11  # Weights of a part that are trained: gamma and beta of four normalizations, three kernels.

CASES = {
    # Variant, input channels, filters, strides, height and width, kernel.
    "expanding": (1, 4, 6, 1, (7, 6), 3),
    "narrowing, odd sizes": (1, 5, 2, 2, (7, 9), 3),
    "even sizes": (1, 4, 6, 2, (8, 6), 3),
    "odd and even size": (1, 4, 4, 2, (8, 7), (5, 3)),
    "large kernel": (1, 3, 4, 2, (6, 9), 7),
    "stride 3": (1, 3, 4, 3, (10, 11), 5),
    "pixels": (1, 3, 4, 2, (5, 6), 1),
    "stride beyond the kernel": (1, 3, 4, 4, (9, 10), 3),
    "smaller than the kernel": (1, 3, 4, 2, (2, 1), 5),
    "no residual though it fits": (1, 4, 4, 1, (5, 6), 3),
    "residual": (2, 4, 4, 1, (6, 7), 3),
    "flat kernel": (2, 4, 4, 1, (5, 8), (3, 7)),
    "two parts": (3, 4, 4, 1, (6, 7), 3),
    "two parts, large kernels": (3, 6, 6, 1, (8, 5), (5, 1)),
}


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def number(tensor):
    return float(keras.ops.convert_to_numpy(tensor))


def norms(part):
    return [part.norm, part.expand_norm, part.depthwise_norm, part.project_norm]


def settle(layer, shape, seed=0):
    """Builds a layer and gives it random kernels, BatchNorm values and alpha."""
    random = np.random.default_rng(seed)
    if not layer.built:
        layer.build(shape)
    for weight in layer.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        elif weight.name == "alpha":
            weight.assign(0.3)
        elif weight.name != "linearity":
            weight.assign(random.normal(0, 0.5, weight.shape))
    return layer


def trained(layer, numpy):
    """Returns alpha and the other trained weights in the order in which `reference` takes them."""
    values = [layer.alpha]
    for part in layer.parts:
        for norm, kernel in zip(norms(part), [part.expand, part.depthwise, part.project, None], strict=True):
            values += [norm.gamma, norm.beta] + ([kernel.kernel] if kernel else [])
    assert [id(value) for value in values] == [id(value) for value in layer.trainable_weights]
    return [numpy(value).astype("float64") for value in values]


def statistics(layer, numpy):
    return [
        [(numpy(norm.moving_mean).astype("float64"), numpy(norm.moving_variance)) for norm in norms(part)]
        for part in layer.parts
    ]


def normalized(x, gamma, beta, moving, training):
    mean, variance = (x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))) if training else moving
    return (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta


def same(x, kernel, strides):
    """Pads as TensorFlow says it does for SAME."""
    pads = [(0, 0)]
    for size, extent in zip(x.shape[1:3], kernel, strict=True):
        total = max((extent - strides) if size % strides == 0 else (extent - size % strides), 0)
        pads.append((total // 2, total - total // 2))
    return np.pad(x, [*pads, (0, 0)])


def depthwise(x, kernel, strides):
    height, width = kernel.shape[:2]
    rows, columns = ((size - extent) // strides + 1 for size, extent in zip(x.shape[1:3], (height, width), strict=True))
    output = np.zeros((len(x), rows, columns, x.shape[3]))
    for row in range(rows):
        for column in range(columns):
            window = x[:, row * strides : row * strides + height, column * strides : column * strides + width]
            output[:, row, column] = np.einsum("nhwc,hwc->nc", window, kernel[..., 0])
    return output


def prelu(x, slope):
    return np.where(x > 0, x, slope * x)


def reference(x, alpha, *weights, moving, strides, residual, training):
    """Figure 3, in float64. The zeros are those of images: behind the first convolution, which has no bias."""
    start = x
    for number, means in enumerate(moving):
        own = iter(weights[TRAINED * number : TRAINED * (number + 1)])
        seen = iter(means)
        x = prelu(normalized(x, next(own), next(own), next(seen), training), 1 - alpha)
        kernel = next(own)
        x = np.einsum("nhwc,cf->nhwf", x, kernel[0, 0])
        scale, shift, kernel = next(own), next(own), next(own)
        x = normalized(same(x, kernel.shape[:2], strides), scale, shift, next(seen), training)
        x = depthwise(x, kernel, strides)
        x = prelu(normalized(x, next(own), next(own), next(seen), training), alpha)
        x = np.einsum("nhwc,cf->nhwf", x, next(own)[0, 0])
        x = normalized(x, next(own), next(own), next(seen), training)
    return x + start if residual else x


def expected_of(layer, x, training, numpy):
    return reference(
        x.astype("float64"),
        *trained(layer, numpy),
        moving=statistics(layer, numpy),
        strides=layer.strides[0],
        residual=layer.geometry.residual,
        training=training,
    )


def make(case, expansion=3, batch=2, **options):
    variant, channels, filters, strides, size, kernel = CASES[case]
    layer = AFRB(filters, kernel, strides, expansion, variant, **options)
    x = images(batch, *size, channels)
    first = layer.data_format == "channels_first"
    settle(layer, (batch, channels, *size) if first else x.shape)
    return layer, x


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", list(CASES))
def test_the_equation_of_figure_3(case, training, numpy, assert_near):
    layer, x = make(case)
    expected = expected_of(layer, x, training, numpy)
    assert tuple(layer.compute_output_shape(x.shape)) == expected.shape
    assert np.std(expected) > 0.1
    assert_near(numpy(layer(x, training=training)), expected, 3e-5)


@pytest.mark.parametrize("alpha", [-0.2, 0.0, 1.0, 1.3])
@pytest.mark.parametrize("case", ["even sizes", "two parts"])
def test_any_alpha(case, alpha, numpy, assert_near):
    layer, x = make(case)
    layer.alpha.assign(alpha)
    for training in (False, True):
        assert_near(numpy(layer(x, training=training)), expected_of(layer, x, training, numpy), 3e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", ["odd and even size", "flat kernel", "two parts"])
def test_channels_first(case, training, numpy, assert_near):
    layer, x = make(case, data_format="channels_first")
    assert layer.channel_axis == 1
    output = numpy(layer(x.transpose(0, 3, 1, 2), training=training))
    assert tuple(layer.compute_output_shape((2, x.shape[3], *x.shape[1:3]))) == output.shape
    assert_near(output.transpose(0, 2, 3, 1), expected_of(layer, x, training, numpy), 3e-5)


def test_the_usual_data_format(channels_first):
    assert AFRB(2).data_format == "channels_first"
    assert AFRB(2)(images(1, 4, 5, 6)).shape == (1, 2, 5, 6)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", ["even sizes", "smaller than the kernel", "residual", "two parts"])
def test_gradients(case, training, numpy, gradients, differences):
    layer, x = make(case, expansion=1.5)
    # The first parts of two, of parts and of sizes, are the same to the differences; these take long.
    x = x[:, :4, :5] if layer.strides[0] == 1 else x[:, :5, :4]
    upstream = images(*layer.compute_output_shape(x.shape), seed=1)
    weights, moving = trained(layer, numpy), statistics(layer, numpy)

    def function(x, *weights):
        residual = layer.geometry.residual
        return reference(x, *weights, moving=moving, strides=layer.strides[0], residual=residual, training=training)

    output, by_x, by_weights = gradients(layer, x, upstream, training)
    expected = differences(function, [x, *weights], upstream)
    for received, gradient in zip([by_x, *by_weights], expected, strict=True):
        assert received.shape == gradient.shape
        np.testing.assert_allclose(received, gradient, rtol=0, atol=2e-4 * max(1, np.abs(gradient).max()))
    assert np.abs(expected[1]) > 0.1, "alpha's gradient shows nothing"


def test_training_moves_the_statistics_and_inference_does_not(numpy):
    layer, x = make("two parts")

    def values():
        return [value for part in statistics(layer, numpy) for pair in part for value in pair]

    before = values()
    layer(x, training=False)
    layer(x)
    assert all(np.array_equal(old, new) for old, new in zip(before, values(), strict=True))
    layer(x, training=True)
    assert all(np.all(old != new) for old, new in zip(before, values(), strict=True))
    assert len(before) == 16


@pytest.mark.parametrize("momentum", [0.99, 0.25])
def test_the_momentum_of_all_statistics(momentum, numpy):
    layer, x = make("two parts", momentum=momentum)
    before = statistics(layer, numpy)
    layer(x, training=True)
    seen = layer.parts[0].norm  # Its inputs are the images.
    np.testing.assert_allclose(
        numpy(seen.moving_mean), momentum * before[0][0][0] + (1 - momentum) * x.mean(axis=(0, 1, 2)), atol=1e-6
    )
    assert {norm.momentum for part in layer.parts for norm in norms(part)} == {momentum}
    assert AFRB(4).momentum == 0.99


def test_at_alpha_0_it_is_an_inverted_bottleneck_without_the_first_activation(numpy, assert_near):
    layer, x = make("narrowing, odd sizes")
    layer.alpha.assign(0)
    part = layer.parts[0]
    y = part.expand(part.norm(x))  # No activation.
    y = part.expand_norm(L.ZeroPadding2D(1)(y))
    y = keras.ops.relu(part.depthwise_norm(part.depthwise(y)))
    y = part.project_norm(part.project(y))
    assert_near(numpy(layer(x)), numpy(y))


@pytest.mark.parametrize("case", ["even sizes", "residual", "two parts"])
def test_at_alpha_1_all_behind_the_first_relu_is_linear(case, numpy):
    layer, x = make(case)
    first = layer.parts[0].norm
    first.moving_mean.assign(np.zeros(first.moving_mean.shape))
    first.beta.assign(np.zeros(first.beta.shape))  # ReLU lets through what is positive, and zero is zero.
    for part in layer.parts[1:]:
        part.norm.beta.assign(np.full(part.norm.beta.shape, 1000.0))
    x, y = np.abs(x), np.abs(images(*x.shape, seed=5))

    def bent(alpha):
        layer.alpha.assign(alpha)
        zero, one, other, both = (numpy(layer(value)) for value in (0 * x, x, y, 0.7 * x + 1.8 * y))
        expected = 0.7 * (one - zero) + 1.8 * (other - zero) + zero
        return np.abs(both - expected).max() / np.std(expected - zero)

    assert bent(1.0) < 2e-3
    assert bent(0.5) > 0.05


def test_at_alpha_1_the_first_activation_is_a_relu(numpy):
    layer, x = make("residual")
    layer.alpha.assign(1)
    first = layer.parts[0].norm
    first.beta.assign(np.full(first.beta.shape, -1000.0))
    np.testing.assert_allclose(numpy(layer(x)) - x, numpy(layer(3 * x)) - 3 * x, atol=1e-4)


@pytest.mark.parametrize(("variant", "parts"), [(1, 1), (2, 1), (3, 2)])
def test_one_alpha_for_all(variant, parts):
    layer = AFRB(4, variant=variant)
    layer.build((None, 8, 8, 4))
    assert [weight.name for weight in layer.weights].count("alpha") == 1
    assert number(layer.alpha) == layer.alpha_value() == 0.25
    assert len(layer.parts) == parts
    assert len(layer.trainable_weights) == 1 + TRAINED * parts
    assert len(layer.weights) == 2 + (TRAINED + 8) * parts  # With lambda, and four normalizations' statistics.


def test_the_variant_is_chosen_by_shape():
    for channels, filters, strides, variant in ((4, 4, 1, 2), (4, 6, 1, 1), (4, 4, 2, 1), (4, 6, 2, 1)):
        layer = AFRB(filters, strides=strides)
        layer.build((None, 8, 8, channels))
        assert (layer.geometry.variant, layer.geometry.residual) == (variant, variant == 2)
        assert layer.variant is None


@pytest.mark.parametrize(("expansion", "hidden"), [(6, 24), (0.5, 2), (2.4, 10), (np.float32(1), 4)])
def test_hidden_channels(expansion, hidden):
    layer = AFRB(6, expansion=expansion, variant=1)
    layer.build((None, 8, 8, 4))
    part = layer.parts[0]
    assert part.expand.kernel.shape == (1, 1, 4, hidden)
    assert part.depthwise.kernel.shape == (3, 3, hidden, 1)
    assert part.project.kernel.shape == (1, 1, hidden, 6)


def test_variant_3_has_half_the_channels_between_its_parts():
    layer = AFRB(8, expansion=6, variant=3)
    layer.build((None, 8, 8, 8))
    shapes = [(part.expand.kernel.shape, part.project.kernel.shape) for part in layer.parts]
    assert shapes == [((1, 1, 8, 48), (1, 1, 48, 4)), ((1, 1, 4, 48), (1, 1, 48, 8))]


INITIALIZERS = ["glorot_uniform", "he_normal", keras.initializers.RandomNormal(stddev=0.1), "lecun_uniform"]


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_kernels_start_differently(initializer, numpy):
    layer = AFRB(4, expansion=1, variant=3, kernel_initializer=initializer)
    layer.build((None, 8, 8, 4))
    kernels = [numpy(weight) for weight in layer.trainable_weights if weight.name == "kernel"]
    assert len(kernels) == 6 and all(np.std(kernel) > 0 for kernel in kernels)
    for number, one in enumerate(kernels):
        for other in kernels[number + 1 :]:
            assert one.size != other.size or not np.array_equal(one.ravel(), other.ravel())
    shapes = [kernel.shape for kernel in kernels]
    assert shapes[1] == shapes[4], "there are no kernels that could be equal"


def test_two_layers_of_one_initializer_start_differently(numpy):
    initializer = keras.initializers.HeNormal()
    layers = [AFRB(4, kernel_initializer=initializer) for _ in range(2)]
    for layer in layers:
        layer.build((None, 8, 8, 4))
    assert not np.array_equal(*(numpy(layer.parts[0].expand.kernel) for layer in layers))


def test_initializers():
    layer = AFRB(4, alpha_initializer=keras.initializers.Constant(0.7), kernel_initializer="ones", linearity=0.5)
    layer.build((None, 8, 8, 4))
    assert layer.alpha_value() == pytest.approx(0.7)
    assert number(layer.linearity) == 0.5
    kernels = [weight for weight in layer.weights if weight.name == "kernel"]
    assert len(kernels) == 3 and all(np.all(keras.ops.convert_to_numpy(kernel) == 1) for kernel in kernels)


OPTIONS = {
    "filters": 4,
    "kernel_size": [5, 3],
    "strides": [1, 1],
    "expansion": 2.5,
    "variant": 3,
    "linearity": 0.25,
    "alpha_initializer": keras.initializers.Constant(0.5),
    "kernel_initializer": keras.initializers.HeNormal(seed=3),
    "kernel_regularizer": keras.regularizers.L2(0.01),
    "momentum": 0.75,
    "data_format": "channels_last",
    "name": "block",
    "dtype": "mixed_bfloat16",
    "trainable": False,
}


def test_the_configuration_is_complete():
    layer = AFRB(**OPTIONS)
    config = layer.get_config()
    assert set(config) == set(OPTIONS)
    for name, value in OPTIONS.items():
        received = getattr(layer, "dtype_policy" if name == "dtype" else name)
        if name in ("kernel_size", "strides"):
            assert list(received) == config[name] == value
        elif name == "linearity":
            assert config[name] == value
        elif name == "dtype":
            assert received.name == value
        elif isinstance(value, (str, int, float)):
            assert received == config[name] == value
        else:
            assert received.get_config() == value.get_config()
            assert config[name]["config"] == value.get_config()
    again = AFRB.from_config(config)
    assert again.get_config() == config
    again.build((None, 6, 6, 4))
    assert again.geometry == AFRB(**OPTIONS).geometry or again.geometry.variant == 3


def test_the_configuration_of_a_plain_layer():
    config = AFRB(4, name="block").get_config()
    assert (config["variant"], config["kernel_regularizer"], config["linearity"]) == (None, None, 0)
    assert AFRB.from_config(config).get_config() == config


def test_numbers_of_numpy_are_saved(tmp_path):
    inputs = keras.Input((8, 8, 4))
    options = {"variant": np.int64(2), "expansion": np.float32(2), "linearity": np.float64(0.5)}
    model = keras.Model(inputs, AFRB(np.int32(4), np.int64(3), np.int64(1), **options)(inputs))
    model.save(tmp_path / "net.keras")
    layer = keras.models.load_model(tmp_path / "net.keras").layers[-1]
    assert (layer.filters, layer.variant, layer.expansion, layer.kernel_size) == (4, 2, 2, (3, 3))


def network(*blocks, size=(9, 8, 4), dtype=None, head=True):
    inputs = keras.Input(size)
    x = inputs
    for block in blocks:
        x = block(x)
    x = L.Dense(2, dtype=dtype, name="head")(L.GlobalAveragePooling2D(dtype=dtype)(x)) if head else x
    return keras.Model(inputs, x)


def test_files_keep_everything(tmp_path, numpy):
    blocks = [AFRB(4, variant=3, name="a", linearity=0.1), AFRB(6, 5, 2, name="b", kernel_regularizer="l2")]
    model = network(*blocks)
    for order, block in enumerate(blocks):
        settle(block, None, seed=order)
        block.alpha.assign(0.6 + order)
        block.linearity.assign(0.75)
    x = images(2, 9, 8, 4)
    expected = numpy(model(x))
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(numpy(loaded(x)), expected)
    assert [block.alpha_value() for block in afrb_layers(loaded)] == pytest.approx([0.6, 1.6])
    assert [number(block.linearity) for block in afrb_layers(loaded)] == [0.75, 0.75]
    assert number(sum(loaded.losses)) == pytest.approx(number(sum(model.losses)))

    model.save_weights(tmp_path / "net.weights.h5")
    other = network(AFRB(4, variant=3, name="a"), AFRB(6, 5, 2, name="b"))
    other.load_weights(tmp_path / "net.weights.h5")
    np.testing.assert_array_equal(numpy(other(x)), expected)


def test_clones_share_nothing(numpy):
    model = network(AFRB(4, variant=3, name="a"), AFRB(6, strides=2, name="b"))
    settle(model.get_layer("a"), None)
    clone = keras.models.clone_model(model)
    assert not {id(weight) for weight in clone.weights} & {id(weight) for weight in model.weights}
    clone.set_weights(model.get_weights())
    x = images(2, 9, 8, 4)
    np.testing.assert_array_equal(numpy(clone(x)), numpy(model(x)))


@pytest.mark.parametrize("built", [True, False])
def test_shapes_of_unknown_sizes(built):
    layer = AFRB(6, 5, 2)
    if built:
        layer.build((None, None, None, 4))
    assert layer.compute_output_shape((None, None, None, 4)) == (None, None, None, 6)
    assert layer.compute_output_shape((3, None, 9, 4)) == (3, None, 5, 6)
    assert layer.compute_output_shape((None, 1, 8, 4)) == (None, 1, 4, 6)
    first = AFRB(6, strides=3, data_format="channels_first")
    assert first.compute_output_shape((2, 4, None, 7)) == (2, 6, None, 3)
    spec = layer.compute_output_spec(keras.KerasTensor((2, 9, 9, 4), "float32"))
    assert tuple(spec.shape) == (2, 5, 5, 6)


def test_unknown_sizes_in_a_model(numpy, assert_near):
    block = AFRB(4, 5, 2, name="block")
    model = network(L.Conv2D(4, 1), block, size=(None, None, 3))
    features = keras.Model(block.input, block.output)
    assert features.output_shape == (None, None, None, 4)
    settle(block, None)
    model.compile("sgd", "mse", jit_compile=JIT)
    for size in ((8, 9), (11, 6), (3, 2)):
        x = images(4, *size, 4)
        assert_near(features.predict(x, verbose=0), expected_of(block, x, False, numpy), 3e-5)
    for size in ((8, 9), (3, 4)):
        alpha = block.alpha_value()
        model.fit(images(4, *size, 3), images(4, 2), verbose=0)
        assert block.alpha_value() != alpha


def test_a_shared_layer(numpy, assert_near):
    block = AFRB(4, name="block")
    inputs = keras.Input((6, 6, 4))
    model = keras.Model(inputs, block(block(inputs)))
    settle(block, None)
    x = images(2, 6, 6, 4)
    assert_near(numpy(model(x)), expected_of(block, expected_of(block, x, False, numpy), False, numpy), 3e-5)
    assert afrb_layers(model) == [block]


def test_the_afrbs_of_a_model():
    inner = network(AFRB(4, name="inside"), head=False)
    twice = AFRB(4, name="twice")
    inputs = keras.Input((9, 8, 4))
    outer = keras.Sequential([keras.Input((9, 8, 4)), AFRB(6, name="last"), L.Flatten()])
    model = keras.Model(inputs, outer(twice(inner(twice(inputs)))))
    assert sorted(block.name for block in afrb_layers(model)) == ["inside", "last", "twice"]
    assert afrb_layers(network(L.Conv2D(2, 1))) == []


# Precision.


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_mixed_precision(dtype, training, numpy, gradients):
    (half, x), (full, _) = make("even sizes", dtype=f"mixed_{dtype}"), make("even sizes")
    upstream = images(*half.compute_output_shape(x.shape), seed=1)
    assert {weight.dtype for weight in half.weights} == {"float32"}
    assert keras.backend.standardize_dtype(half(x, training=training).dtype) == dtype
    assert half.compute_output_spec(keras.KerasTensor(x.shape, dtype)).dtype == dtype
    received, expected = (gradients(layer, x, upstream, training) for layer in (half, full))
    for one, other in zip([*received[:2], *received[2]], [*expected[:2], *expected[2]], strict=True):
        # Where rounding brings a value to the other side of zero, a gradient of its own changes by more.
        assert np.linalg.norm(one - other) < {"float16": 0.03, "bfloat16": 0.2}[dtype] * max(1, np.linalg.norm(other))


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_alphas_gradient_beyond_the_range_of_float16(dtype, gradients):
    x = -np.abs(images(16, 64, 64, 2)) - 0.5

    def by_alpha(dtype):
        layer = AFRB(2, expansion=2, kernel_initializer="ones", dtype=dtype)
        layer.build(x.shape)
        for norm in norms(layer.parts[0]):
            norm.trainable = False  # Else normalization takes the mean out of the gradient.
        assert [weight.name for weight in layer.trainable_weights][0] == "alpha"
        _, by_x, by_weights = gradients(layer, x, np.full_like(x, 0.5), True)
        assert np.all(np.isfinite(by_x)) and np.all(np.isfinite(by_weights[0]))
        return float(by_weights[0])

    expected = by_alpha("float32")
    assert abs(expected) > 70_000
    assert by_alpha(dtype) == pytest.approx(expected, rel=0.03)


def test_alpha_is_not_rounded_to_half_precision(gradients):
    """A step that float16 would lose, and an alpha between two of its numbers."""
    layer = AFRB(4, dtype="mixed_float16", alpha_initializer=keras.initializers.Constant(0.5001))
    layer.build((None, 4, 4, 4))
    assert layer.alpha_value() == pytest.approx(0.5001, abs=1e-6)
    layer.alpha.assign_add(1e-5)
    assert layer.alpha_value() == pytest.approx(0.50011, abs=1e-6)
    layer.linearity.assign(1e-6)
    assert number(layer.losses[0]) == pytest.approx(1e-6 * (1 - 0.50011) ** 2, rel=1e-4)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_training_in_mixed_precision(dtype):
    block = AFRB(4, strides=2, linearity=0.1, dtype=dtype)
    model = network(block, size=(64, 64, 4), dtype="float32")
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=JIT)
    losses = model.fit(images(8, 64, 64, 4), images(8, 2), epochs=3, batch_size=4, verbose=0).history["loss"]
    assert np.all(np.isfinite(losses)) and losses[-1] < losses[0]
    assert block.alpha_value() != 0.25 and np.isfinite(block.alpha_value())


@pytest.mark.skipif(BACKEND == "jax", reason="JAX computes in float32 unless it was started with x64 enabled")
def test_float64(numpy):
    layer, x = make("two parts", dtype="float64")
    output = numpy(keras.ops.stop_gradient(layer(x.astype("float64"), training=True)))
    assert output.dtype == "float64"
    settle(layer, None)
    # Keras's BatchNormalization on torch computes in float32.
    atol = 1e-5 if BACKEND == "torch" else 1e-11
    np.testing.assert_allclose(output, expected_of(layer, x, True, numpy), rtol=0, atol=atol)


# Training.


@pytest.mark.compiles
def test_compiled_training():
    def losses(**options):
        keras.utils.set_random_seed(0)
        model = network(AFRB(4, 3, 2, expansion=2, linearity=0.1))
        model.compile("sgd", "mse", **options)
        history = model.fit(images(6, 9, 8, 4), images(6, 2), batch_size=2, shuffle=False, verbose=0).history
        return [*history["loss"], *(block.alpha_value() for block in afrb_layers(model))]

    np.testing.assert_allclose(losses(jit_compile=True), losses(run_eagerly=True), rtol=1e-4)


def test_fit_trains_alpha_and_all_kernels(numpy):
    model = network(AFRB(4, variant=3, name="a"))
    before = [numpy(weight) for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=JIT)
    model.fit(images(8, 9, 8, 4), images(8, 2), verbose=0)
    assert all(np.any(numpy(weight) != old) for weight, old in zip(model.trainable_weights, before, strict=True))


@pytest.mark.parametrize("when", ["argument", "unbuilt", "built", "loaded"])
def test_a_frozen_layer_does_not_move(when, numpy, tmp_path):
    block = AFRB(4, variant=3, linearity=2.0, trainable=when != "argument", name="block")
    if when == "unbuilt":
        block.trainable = False
    model = network(block)
    settle(block, None)
    if when in ("built", "loaded"):
        block.trainable = False
    if when == "loaded":
        model.save(tmp_path / "net.keras")
        model = keras.models.load_model(tmp_path / "net.keras")
        block = model.get_layer("block")
    assert block.trainable is False and block.trainable_weights == [] and len(model.trainable_weights) == 2
    assert block.losses == [] and model.losses == []
    before = [numpy(weight) for weight in block.weights]
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=JIT)
    model.fit(images(8, 9, 8, 4) + 3, images(8, 2), epochs=2, verbose=0)
    for weight, old in zip(block.weights, before, strict=True):
        np.testing.assert_array_equal(numpy(weight), old)
    block.trainable = True
    assert len(block.trainable_weights) == 1 + 2 * TRAINED and len(block.losses) == 1


# The loss of equation (3).


def test_the_loss_of_equation_3():
    blocks = [AFRB(4, linearity=0.5, alpha_initializer="zeros"), AFRB(4, variant=3, linearity=2)]
    model = network(*blocks)
    values = sorted(number(loss) for loss in model.losses)
    assert values == pytest.approx([0.5, 2 * 0.75**2])
    blocks[0].linearity.assign(3)
    blocks[1].alpha.assign(1.5)
    assert sorted(number(loss) for loss in model.losses) == pytest.approx([2 * 0.25, 3.0])
    assert number(AFRB(4).linearity) == 0


def zero_loss(targets, outputs):
    return keras.ops.sum(0.0 * outputs)


def pulled(alpha, *steps):
    """Returns alpha after steps of gradient descent (rate 0.1), each with a lambda, of the loss of equation (3)."""
    for weight in steps:
        alpha -= 0.1 * 2 * weight * (alpha - 1)
    return alpha


@pytest.mark.parametrize("options", [{"run_eagerly": True, "jit_compile": False}, {"jit_compile": JIT}])
def test_the_loss_pulls_alpha_and_lambda_can_change(options):
    """The compiled step reads lambda anew."""
    block = AFRB(4, linearity=0.5)
    model = network(block)
    model.compile(keras.optimizers.SGD(0.1), zero_loss, **options)
    data = {"x": images(6, 9, 8, 4), "y": images(6, 2), "batch_size": 2, "verbose": 0}
    history = model.fit(**data).history
    steps = [0.5] * 3
    assert block.alpha_value() == pytest.approx(pulled(0.25, *steps), abs=1e-5)
    losses = [0.5 * (pulled(0.25, *steps[:number]) - 1) ** 2 for number in range(3)]
    assert history["loss"][0] == pytest.approx(np.mean(losses), rel=1e-4)
    block.linearity.assign(2.0)
    model.fit(**data)
    assert block.alpha_value() == pytest.approx(pulled(0.25, *steps, 2, 2, 2), abs=1e-5)
    block.linearity.assign(0.0)
    before = block.alpha_value()
    assert model.fit(**data).history["loss"] == [pytest.approx(0, abs=1e-7)]
    assert block.alpha_value() == before


def test_lambda_can_be_set_before_the_layer_is_built():
    block = AFRB(4, linearity=1)
    block.linearity.assign(3.0)
    block.build((None, 8, 8, 4))
    assert number(block.losses[0]) == pytest.approx(3 * 0.75**2)


def test_kernels_are_regularized(numpy):
    block = AFRB(4, variant=3, linearity=1, kernel_regularizer=keras.regularizers.L2(0.1))
    block.build((None, 8, 8, 4))
    kernels = [numpy(weight) for weight in block.trainable_weights if weight.name == "kernel"]
    expected = [0.1 * np.square(kernel).sum() for kernel in kernels]
    assert len(expected) == 6
    assert sum(number(loss) for loss in block.losses) == pytest.approx(sum(expected) + 0.75**2, rel=1e-5)


# Bad input.

ARGUMENTS = [
    ({"filters": 0}, "Expected filters to be a whole number of 1 or more. Received: 0"),
    ({"filters": 2.5}, "Expected filters .* Received: 2.5"),
    ({"filters": True}, "Expected filters .* Received: True"),
    ({"filters": None}, "Expected filters .* Received: None"),
    ({"strides": 0}, "Expected strides to be a whole number of 1 or more, or two of them. Received: 0"),
    ({"strides": (1, 2)}, r"Expected strides that are the same in both directions. Received: \(1, 2\)"),
    ({"strides": (2, 2, 2)}, "Expected strides to be a whole number.* Received: "),
    ({"strides": "2"}, "Expected strides to be a whole number.* Received: '2'"),
    ({"kernel_size": 4}, "Expected an odd kernel_size. Received: 4"),
    ({"kernel_size": (3, 2)}, r"Expected an odd kernel_size. Received: \(3, 2\)"),
    ({"kernel_size": (3,)}, r"Expected kernel_size to be a whole number.* Received: \(3,\)"),
    ({"kernel_size": -1}, "Expected kernel_size to be a whole number.* Received: -1"),
    ({"kernel_size": 3.0}, "Expected kernel_size to be a whole number.* Received: 3.0"),
    ({"expansion": 0}, "Expected expansion to be a number above 0. Received: 0"),
    ({"expansion": float("nan")}, "Expected expansion to be a number above 0. Received: nan"),
    ({"expansion": "6"}, "Expected expansion to be a number above 0. Received: '6'"),
    ({"variant": 4}, "Expected variant 1, 2, 3 or None. Received: 4"),
    ({"variant": "2"}, "Expected variant 1, 2, 3 or None. Received: '2'"),
    ({"linearity": -0.1}, "Expected a weight of the loss on alpha of 0 or more. Received: -0.1"),
    ({"linearity": float("inf")}, "Expected a weight of the loss on alpha .* Received: inf"),
    ({"linearity": None}, "Expected a weight of the loss on alpha .* Received: None"),
    ({"data_format": "NCHW"}, "Expected data_format 'channels_last' or 'channels_first'. Received: 'NCHW'"),
]


@pytest.mark.parametrize(("options", "message"), ARGUMENTS, ids=[str(options) for options, _ in ARGUMENTS])
def test_arguments_that_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        AFRB(**{"filters": 4, **options})


SHAPES = [
    (
        {"variant": 2},
        (None, 8, 8, 6),
        "Expected strides=1 and as many filters as input channels for variant 2.*'block'",
    ),
    ({"variant": 3}, (None, 8, 8, 6), "variant 3 .*Received: 6 input channels, filters=4, strides=1; use variant 1"),
    ({"variant": 2, "strides": 2}, (None, 8, 8, 4), "variant 2 .*Received: 4 input channels, filters=4, strides=2"),
    (
        {"variant": 3, "filters": 5},
        (None, 8, 8, 5),
        "Expected an even number of filters for variant 3.*'block'.*filters=5",
    ),
    ({"expansion": 0.1}, (None, 8, 8, 4), "Expected an expansion of AFRB 'block' that leaves .* Received: 0.1 times 4"),
    ({}, (None, 8, 4), r"Expected images \(4-D inputs\) .*'block'. Received: inputs of shape \(None, 8, 4\)"),
    ({}, (None, 8, 8, 8, 4), r"Expected images \(4-D inputs\)"),
    ({}, (None, 8, 8, None), r"known number of channels .* Received: inputs of shape \(None, 8, 8, None\)"),
    ({"data_format": "channels_first"}, (None, None, 8, 4), "known number of channels .*check `data_format`"),
]


@pytest.mark.parametrize(("options", "shape", "message"), SHAPES, ids=[f"{case[0]}, {case[1]}" for case in SHAPES])
def test_shapes_that_are_refused(options, shape, message):
    layer = AFRB(**{"filters": 4, "name": "block", **options})
    with pytest.raises(InputError, match=message):
        layer(keras.Input(shape[1:]))


def test_other_inputs_than_it_was_built_for():
    layer = AFRB(4)
    layer.build((None, 8, 8, 4))
    for shape in ((1, 8, 8, 5), (8, 8, 4)):
        with pytest.raises(ValueError, match="incompatible"):
            layer(images(*shape))
