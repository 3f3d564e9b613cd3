"""compose_convolutions: one convolution computes what the chain computes, the border of the images included."""

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.surgery import LinearConvolution, compose_convolutions

L = keras.layers
SIZE = (11, 10)
CHANNELS = 4


def images(channels=CHANNELS, size=SIZE, seed=0):
    return np.random.default_rng(seed).normal(size=(2, *size, channels)).astype("float32")


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def run(layers, x):
    for layer in layers:
        x = layer(x, training=False) if isinstance(layer, (L.Dropout, L.SpatialDropout2D)) else layer(x)
    return x


def settle(layers, x, seed=0):
    """Builds layers by calling them, gives them random weights and BatchNorm values, and returns them."""
    random = np.random.default_rng(seed)
    for layer in layers:
        if not layer.built:
            layer.build(x.shape)
        for weight in layer.weights:
            if weight.name in ("gamma", "moving_variance"):
                weight.assign(random.uniform(0.5, 1.5, weight.shape))
            elif weight.name in ("beta", "bias", "moving_mean"):
                weight.assign(random.uniform(-1, 1, weight.shape))
            else:
                fan_in = np.prod(weight.shape[:3]) if len(weight.shape) > 2 else weight.shape[0]
                weight.assign(random.normal(0, 1 / np.sqrt(fan_in), weight.shape))
        x = layer(x)
    return list(layers)


def assert_same(received, expected, share=1e-5):
    assert received.shape == expected.shape
    scale = np.ptp(expected)
    assert scale > 0.1
    np.testing.assert_allclose(received, expected, rtol=0, atol=share * scale)


def assert_composed(layers, x=None, **options):
    """Composes layers, compares what both compute, and returns the composition."""
    x = images() if x is None else x
    options = {"image_size": x.shape[1:3], **options}
    composed = compose_convolutions(settle(layers, x), **options)
    expected = numpy(run(layers, x))
    assert composed.image_size == expected.shape[1:3]
    assert composed.filters == expected.shape[3]
    assert composed.kernel.dtype == composed.bias.dtype == np.float64
    assert_same(numpy(run(composed.layers("one"), x)), expected)
    return composed


SINGLE = {
    "conv": lambda: L.Conv2D(5, 3),
    "same": lambda: L.Conv2D(5, 3, padding="same"),
    "even kernel, same": lambda: L.Conv2D(5, (2, 4), padding="same"),
    "without bias": lambda: L.Conv2D(5, 3, use_bias=False),
    "strides": lambda: L.Conv2D(5, 3, strides=2),
    "two strides": lambda: L.Conv2D(5, (3, 5), strides=(3, 2)),
    "strides, same": lambda: L.Conv2D(5, (3, 4), strides=(2, 3), padding="same"),
    "strides beyond the kernel, same": lambda: L.Conv2D(5, 2, strides=3, padding="same"),
    "dilation": lambda: L.Conv2D(5, 3, dilation_rate=(2, 3)),
    "dilation, same": lambda: L.Conv2D(5, 3, dilation_rate=2, padding="same"),
    "groups": lambda: L.Conv2D(6, 3, groups=2),
    "groups, strides": lambda: L.Conv2D(8, 3, groups=4, strides=2, padding="same"),
    "depthwise": lambda: L.DepthwiseConv2D(3),
    "depthwise, multiplier": lambda: L.DepthwiseConv2D((3, 5), depth_multiplier=3, padding="same"),
    "depthwise, strides": lambda: L.DepthwiseConv2D(3, strides=2, depth_multiplier=2, padding="same", use_bias=False),
    "depthwise, dilation": lambda: L.DepthwiseConv2D(3, dilation_rate=2),
    "separable": lambda: L.SeparableConv2D(5, 3),
    "separable, multiplier": lambda: L.SeparableConv2D(5, (5, 3), depth_multiplier=3, strides=2, padding="same"),
    "separable, dilation": lambda: L.SeparableConv2D(5, 3, dilation_rate=2, padding="same", use_bias=False),
    "dense": lambda: L.Dense(5),
    "dense without bias": lambda: L.Dense(5, use_bias=False),
    "normalization": lambda: L.BatchNormalization(epsilon=0.1),
    "normalization without scale": lambda: L.BatchNormalization(scale=False),
    "normalization without center": lambda: L.BatchNormalization(center=False),
    "normalization without both": lambda: L.BatchNormalization(scale=False, center=False),
    "padding": lambda: L.ZeroPadding2D(((1, 2), (0, 3))),
}


@pytest.mark.parametrize("kind", list(SINGLE))
def test_each_kind_of_layer(kind):
    channels = CHANNELS if kind == "padding" else None
    assert_composed([SINGLE[kind]()], channels=channels)
    # Behind others and before others.
    before = [L.Conv2D(CHANNELS, 1, use_bias=False), L.Dropout(0.5)]
    composed = assert_composed([*before, SINGLE[kind](), L.BatchNormalization(), L.Conv2D(3, 2)])
    assert composed.kernel.shape[2] == CHANNELS


CHAINS = {
    "inverted bottleneck, padded as an AFRB": lambda: [
        L.Conv2D(12, 1, use_bias=False),
        L.ZeroPadding2D(1),
        L.BatchNormalization(),
        L.DepthwiseConv2D(3, use_bias=False),
        L.BatchNormalization(),
        L.Conv2D(5, 1, use_bias=False),
        L.BatchNormalization(),
    ],
    "strides, and all that follows is spread": lambda: [
        L.Conv2D(4, 2, strides=2),
        L.DepthwiseConv2D(2),
        L.Conv2D(3, 2, dilation_rate=2),
    ],
    "several strides": lambda: [L.Conv2D(4, 3, strides=(1, 2)), L.Conv2D(4, 2, strides=(2, 1)), L.Conv2D(3, (3, 1))],
    "several paddings": lambda: [
        L.ZeroPadding2D(((1, 0), (2, 1))),
        L.Conv2D(4, 1, use_bias=False),
        L.ZeroPadding2D(1),
        L.Conv2D(5, 3, strides=2, padding="same"),
    ],
    "layers that do nothing": lambda: [
        L.Identity(),
        L.Dropout(0.9),
        L.SpatialDropout2D(0.9),
        L.Activation("linear"),
        L.Conv2D(3, 3, activation="linear"),
        L.ZeroPadding2D(0),
        L.Activation(keras.activations.linear),
    ],
    "1x1 kernels, same": lambda: [L.Conv2D(4, 3), L.Conv2D(3, 1, padding="same"), L.Conv2D(3, 1, 2, padding="same")],
    "groups of groups": lambda: [L.Conv2D(6, 3, groups=2), L.Conv2D(9, 2, groups=3), L.Conv2D(6, 1, groups=3)],
    "dense layers on pixels": lambda: [
        L.Dense(6, use_bias=False),
        L.ZeroPadding2D(2),
        L.SeparableConv2D(4, 5),
        L.Dense(3),
    ],
}


@pytest.mark.parametrize("name", list(CHAINS))
def test_chains(name):
    assert_composed(CHAINS[name]())


def test_kernel_and_bias_of_a_small_chain():
    """By hand."""
    first, second = L.Conv2D(1, 1), L.Conv2D(1, (1, 2))
    settle([first, second], images(1))
    first.set_weights([np.full((1, 1, 1, 1), 2.0), np.array([3.0])])
    second.set_weights([np.array([5.0, 7.0]).reshape(1, 2, 1, 1), np.array([11.0])])
    composed = compose_convolutions([first, second])
    assert composed.kernel.tolist() == [[[[10]], [[14]]]]
    assert composed.bias.tolist() == [3 * 5 + 3 * 7 + 11]
    assert (composed.strides, composed.padding, composed.image_size) == ((1, 1), ((0, 0), (0, 0)), None)


@pytest.mark.parametrize("size", [(1, 1), (4, 7), (7, 4), (8, 8), (9, 9)])
@pytest.mark.parametrize(("kernel", "strides"), [(3, 2), (5, 3), (2, 2), (3, 4)])
def test_strided_same_depends_on_the_size(kernel, strides, size):
    x = images(size=size)
    assert_composed([L.Conv2D(6, 1, use_bias=False), L.Conv2D(3, kernel, strides, padding="same")], x)


def random_chain(random, size):
    """Returns layers of random kinds; zeros are padded only where that is exact."""
    size = list(size)
    chain = [random.choice([pixels, padding, nothing])(random, size) for _ in range(random.integers(0, 3))]
    chain.append(random.choice([convolution, depthwise, separable])(random, size, "same"))
    for _ in range(random.integers(0, 4)):
        kinds = [convolution, depthwise, separable, pixels_with_bias, normalization, nothing]
        chain.append(random.choice(kinds)(random, size))
    return chain


def pixels(random, size):
    groups = int(random.choice([1, 2]))
    options = {"use_bias": False}
    return L.Dense(4, **options) if random.random() < 0.3 else L.Conv2D(4, 1, groups=groups, **options)


def pixels_with_bias(random, size):
    return random.choice([L.Dense(4), L.Conv2D(2 * random.integers(1, 4), 1)])


def padding(random, size):
    pads = random.integers(0, 3, (2, 2))
    size[:] = [n + pad for n, pad in zip(size, pads.sum(axis=1), strict=True)]
    return L.ZeroPadding2D(tuple(tuple(map(int, pair)) for pair in pads))


def nothing(random, size):
    return random.choice([L.Dropout(0.5), L.Identity(), L.Activation("linear")])


def normalization(random, size):
    return L.BatchNormalization(scale=random.random() < 0.5, center=random.random() < 0.5)


def window(random, size, padding, even_strides=False):
    """Returns the arguments of a window that fits into images of `size`, and makes that the size of the result."""
    strides, dilation = (1, 1), (1, 1)
    kernel = tuple(int(random.integers(1, min(4, n) + 1)) for n in size)
    way = random.integers(3)
    if way == 1:
        strides = (2, 2) if even_strides else tuple(int(n) for n in random.integers(1, 4, 2))
    elif way == 2:
        dilation = (2, 2)
        kernel = tuple(min(extent, (n + 1) // 2) for extent, n in zip(kernel, size, strict=True))
    spread = [(extent - 1) * rate + 1 for extent, rate in zip(kernel, dilation, strict=True)]
    left = size if padding == "same" else [n - extent + 1 for n, extent in zip(size, spread, strict=True)]
    size[:] = [-(-n // stride) for n, stride in zip(left, strides, strict=True)]
    return {
        "kernel_size": kernel,
        "strides": strides,
        "dilation_rate": dilation,
        "padding": padding,
        "use_bias": bool(random.random() < 0.5),
    }


def convolution(random, size, padding="valid"):
    return L.Conv2D(2 * random.integers(1, 4), groups=int(random.choice([1, 2])), **window(random, size, padding))


def depthwise(random, size, padding="valid"):
    return L.DepthwiseConv2D(depth_multiplier=int(random.integers(1, 3)), **window(random, size, padding, True))


def separable(random, size, padding="valid"):
    options = window(random, size, padding, True)
    return L.SeparableConv2D(2 * random.integers(1, 4), depth_multiplier=int(random.integers(1, 3)), **options)


@pytest.mark.parametrize("seed", range(20))
def test_random_chains(seed):
    random = np.random.default_rng(seed)
    size = tuple(int(n) for n in random.integers(7, 14, 2))
    assert_composed(random_chain(random, size), images(size=size), channels=CHANNELS)


@pytest.mark.parametrize("strides", [1, 2])
def test_channels_first(strides):
    own = {"data_format": "channels_first"}
    layers = [
        L.Conv2D(6, 1, use_bias=False, **own),
        L.ZeroPadding2D(((1, 2), (0, 3)), **own),
        L.BatchNormalization(axis=1),
        L.DepthwiseConv2D(3, strides, depth_multiplier=2, **own),
        L.BatchNormalization(axis=1),
        # Keras on TensorFlow adds a bias to the wrong axis where the width is the number of channels.
        L.SeparableConv2D(7, (1, 2), **own),
    ]
    x = images().transpose(0, 3, 1, 2)
    composed = compose_convolutions(settle(layers, x), image_size=SIZE)
    expected = numpy(run(layers, x))
    assert composed.image_size == expected.shape[2:]
    assert composed.kernel.shape == (3, 3 + strides, 4, 7)
    assert_same(numpy(run(composed.layers("one", **own), x)), expected)


def test_an_afrbs_linear_chain():
    from keras_actnas.layers import AFRB

    block = AFRB(6, (3, 5), variant=1)
    block.build((None, *SIZE, CHANNELS))
    assert_composed(block.parts[0].linear_chain())


# The layers of a composition.


def layers_of(kernel, strides=(1, 1), padding=((0, 0), (0, 0)), **options):
    return LinearConvolution(np.ones((*kernel, 2, 3)), np.arange(3.0), strides, padding).layers("one", **options)


def test_the_layers_are_as_few_as_can_be():
    for kernel, padding in (((3, 3), ((1, 1), (1, 1))), ((2, 5), ((0, 1), (2, 2))), ((1, 1), ((0, 0), (0, 0)))):
        (conv,) = layers_of(kernel, padding=padding)
        assert (type(conv), conv.name, conv.padding, conv.kernel_size) == (L.Conv2D, "one", "same", kernel)
    (conv,) = layers_of((3, 3))
    assert conv.padding == "valid"
    (conv,) = layers_of((3, 3), (2, 2))
    assert (conv.padding, conv.strides) == ("valid", (2, 2))
    cases = (((3, 3), (2, 2), ((1, 1), (1, 1))), ((3, 3), (1, 1), ((2, 0), (1, 1))), ((2, 2), (1, 1), ((1, 0), (0, 1))))
    for kernel, strides, padding in cases:
        pad, conv = layers_of(kernel, strides, padding)
        assert (type(pad), pad.name, pad.padding) == (L.ZeroPadding2D, "one_pad", padding)
        assert (conv.name, conv.padding, conv.strides) == ("one", "valid", strides)


def test_the_layers_are_built_and_take_arguments():
    pad, conv = layers_of((3, 3), (2, 2), ((0, 1), (0, 1)), data_format="channels_first", dtype="mixed_bfloat16")
    assert conv.built and conv.use_bias
    np.testing.assert_array_equal(numpy(conv.kernel), np.ones((3, 3, 2, 3)))
    np.testing.assert_array_equal(numpy(conv.bias), [0, 1, 2])
    for layer in (pad, conv):
        assert (layer.data_format, layer.dtype_policy.name) == ("channels_first", "mixed_bfloat16")


def test_the_chain_stays_as_it_is():
    layers = settle(CHAINS["inverted bottleneck, padded as an AFRB"](), images())
    before = [value for layer in layers for value in layer.get_weights()]
    compose_convolutions(layers)
    for old, new in zip(before, [value for layer in layers for value in layer.get_weights()], strict=True):
        np.testing.assert_array_equal(old, new)


# Where no convolution computes the chain.

LATE = {
    "a bias": lambda: [L.Conv2D(6, 1), L.Conv2D(3, 3, padding="same", name="late")],
    "a normalization": lambda: [L.BatchNormalization(), L.DepthwiseConv2D(3, padding="same", name="late")],
    "a larger convolution": lambda: [
        L.Conv2D(6, 3, padding="same", use_bias=False),
        L.Conv2D(3, 3, padding="same", use_bias=False, name="late"),
    ],
    "an inverted bottleneck as usual": lambda: [
        L.Conv2D(6, 1, use_bias=False),
        L.BatchNormalization(),
        L.DepthwiseConv2D(3, padding="same", use_bias=False, name="late"),
        L.Conv2D(3, 1),
    ],
}


@pytest.mark.parametrize("case", list(LATE))
def test_late_zeros_are_refused_because_the_border_differs(case):
    layers = settle(LATE[case](), images())
    with pytest.raises(InputError, match="Expected zeros to be padded before any bias.* Received: 'late', which pads"):
        compose_convolutions(layers, image_size=SIZE)

    # What one would get by composing all the same: right inside, wrong at the border.
    for layer in layers:
        layer.padding = "valid"
    naive = compose_convolutions(layers)
    for layer in layers:
        layer.padding = "same"
    pads = tuple((extent // 2, extent // 2) for extent in naive.kernel.shape[:2])
    naive = LinearConvolution(naive.kernel, naive.bias, padding=pads)
    wrong, right = numpy(run(naive.layers("naive"), images())), numpy(run(layers, images()))
    assert_same(wrong[:, 2:-2, 2:-2], right[:, 2:-2, 2:-2])
    difference = np.abs(wrong - right).max(axis=(0, 3))
    difference[2:-2, 2:-2] = 0
    assert difference.max() > 0.05 * np.ptp(right)


@pytest.mark.parametrize(
    "before",
    [lambda: L.Conv2D(4, 1, 2, use_bias=False), lambda: L.Conv2D(4, 1), lambda: L.Conv2D(4, (1, 2), use_bias=False)],
)
def test_late_padding_layers_are_refused(before):
    layers = settle([before(), L.ZeroPadding2D(1, name="late")], images())
    with pytest.raises(InputError, match="before any bias, batch normalization, stride or convolution .* 'late'"):
        compose_convolutions(layers)


def test_zeros_stay_zeros_where_nothing_is_added():
    first, norm = L.Conv2D(4, 1), L.BatchNormalization()
    layers = settle([first, norm, L.Conv2D(3, 3, padding="same")], images())
    for weight in (first.bias, norm.beta, norm.moving_mean):
        weight.assign(np.zeros(weight.shape))
    composed = compose_convolutions(layers)
    assert composed.padding == ((1, 1), (1, 1))
    assert_same(numpy(run(composed.layers("one"), images())), numpy(run(layers, images())))


# Bad input.


class Twice(L.Conv2D):
    def call(self, inputs):
        return 2 * super().call(inputs)


class AlwaysDropout(L.Dropout):
    def call(self, inputs, training=None):
        return super().call(inputs, training=True)


class Double(L.Identity):
    def call(self, inputs):
        return 2 * inputs


LINEAR_ONLY = "Expected linear layers: convolutions, dense layers, .* Received: "
ERRORS = {
    "nothing": (lambda: [], "Expected at least one layer to compose. Received: none"),
    "not linear": (lambda: [L.ReLU(name="act")], f"{LINEAR_ONLY}'act' of type ReLU"),
    "activation": (lambda: [L.Activation("relu", name="act")], f"{LINEAR_ONLY}'act' of type Activation"),
    "pooling": (lambda: [L.Conv2D(3, 3), L.MaxPooling2D(name="pool")], f"{LINEAR_ONLY}'pool'"),
    "transposed": (lambda: [L.Conv2DTranspose(3, 3, name="up")], f"{LINEAR_ONLY}'up' of type Conv2DTranspose"),
    "one dimension": (lambda: [L.Conv1D(3, 3, name="line")], f"{LINEAR_ONLY}'line' of type Conv1D"),
    "a class of the user's": (lambda: [Twice(3, 3, name="own")], f"{LINEAR_ONLY}'own' of type Twice"),
    "dropout of the user's": (lambda: [AlwaysDropout(0.5, name="own")], f"{LINEAR_ONLY}'own' of type AlwaysDropout"),
    "identity of the user's": (lambda: [Double(name="own")], f"{LINEAR_ONLY}'own' of type Double"),
    "argument": (
        lambda: [L.Conv2D(3, 3, activation="relu", name="conv")],
        "without activation. Received: 'conv', which",
    ),
    "dense argument": (lambda: [L.Dense(3, activation="gelu", name="fc")], "without activation. Received: 'fc', which"),
    "channels unknown": (lambda: [L.ZeroPadding2D(1), L.Identity()], "the number of `channels`.* Received: None"),
    "data formats": (
        lambda: [L.Conv2D(3, 1, data_format="channels_first", name="one"), L.Conv2D(3, 1, name="other")],
        r"channels are on the same axis. Received: 'one' \(axis 1\), 'other' \(axis 3\)",
    ),
    "dense and channels first": (
        lambda: [L.Conv2D(3, 1, data_format="channels_first", name="one"), L.Dense(3, name="other")],
        "channels are on the same axis",
    ),
    "normalization of another axis": (
        lambda: [L.Conv2D(3, 1), L.BatchNormalization(axis=1, name="norm")],
        r"channels are on the same axis. Received: .* 'norm' \(axis 1\)",
    ),
}


@pytest.mark.parametrize("case", list(ERRORS))
def test_chains_that_are_refused(case):
    make, message = ERRORS[case]
    layers = make()
    for layer in layers:
        if layer.weights or not isinstance(layer, (L.ZeroPadding2D, L.Dropout)):
            layer.build((None, 6, 8, 8)[: 3 if isinstance(layer, L.Conv1D) else 4])
    with pytest.raises(InputError, match=message):
        compose_convolutions(layers)


def test_something_that_is_no_layer():
    with pytest.raises(InputError, match=f"{LINEAR_ONLY}<function"):
        compose_convolutions([lambda x: x])


@pytest.mark.parametrize("make", [lambda: L.Conv2D(3, 3), lambda: L.Dense(3), L.BatchNormalization])
def test_layers_without_weights_yet(make):
    layer = make()
    with pytest.raises(InputError, match=f"Expected layers that are built. Received: '{layer.name}', which has no"):
        compose_convolutions([layer], channels=4)


def test_padding_that_depends_on_a_size_that_is_not_known():
    layers = settle([L.Conv2D(3, 3, 2, padding="same", name="down")], images())
    with pytest.raises(InputError, match="Expected `image_size`, on which the padding of 'down'.* Received: None"):
        compose_convolutions(layers)
    pixels = settle([L.Conv2D(3, 1, 2, padding="same"), L.BatchNormalization()], images())
    assert compose_convolutions(pixels).strides == (2, 2)


def test_layers_that_do_not_fit():
    conv, other, norm = L.Conv2D(1, 3), L.Conv2D(3, 1), L.BatchNormalization()
    conv.build((None, 8, 8, 4))
    for layer in (other, norm):
        layer.build((None, 8, 8, 5))
    for chain, channels in (([conv, other], None), ([conv, norm], None), ([conv], 3), ([norm], 1)):
        with pytest.raises(InputError, match="Expected layers that fit each other. Received: "):
            compose_convolutions(chain, channels=channels)
