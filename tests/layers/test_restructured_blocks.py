"""RestructuredBlock: which layers it consists of, how they are named and linked, and what they compute."""

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.layers import RestructuredBlock

L = keras.layers
COLLAPSED = ["norm", "act", "conv"]
BOTTLENECK = [
    "expand",
    "expand_norm",
    "expand_act",
    "depthwise",
    "depthwise_norm",
    "depthwise_act",
    "project",
    "project_norm",
]


def applied(*arguments, size=(9, 8), data_format="channels_last", **options):
    """Returns a model of a block, called with its number of input channels and so on."""
    channels = arguments[0]
    inputs = keras.Input((*size, channels) if data_format == "channels_last" else (channels, *size))
    block = RestructuredBlock(*arguments, name="b", data_format=data_format, **options)
    return keras.Model(inputs, block(inputs))


def names(model):
    return [layer.name for layer in model.layers[1:]]


@pytest.mark.parametrize(("collapsed", "steps"), [(True, COLLAPSED), (False, BOTTLENECK)])
def test_names_and_order(collapsed, steps):
    one = [f"b_{step}" for step in steps]
    two = [f"b_part{number}_{step}" for number in (1, 2) for step in steps]
    assert names(applied(4, 6, collapsed=collapsed)) == one
    assert names(applied(4, 4, collapsed=collapsed, variant=1)) == one
    assert names(applied(4, 4, collapsed=collapsed)) == [*one, "b_add"]
    assert names(applied(4, 4, collapsed=collapsed, variant=3)) == [*two, "b_add"]


@pytest.mark.parametrize("collapsed", [True, False])
def test_blocks_with_the_names_that_keras_gives_have_different_layers(collapsed):
    inputs = keras.Input((8, 8, 4))
    first = RestructuredBlock(4, 4, variant=3, collapsed=collapsed, name="afrb")
    second = RestructuredBlock(4, 4, variant=3, collapsed=collapsed, name="afrb_1")
    model = keras.Model(inputs, second(first(inputs)))
    assert len(set(names(model))) == len(names(model))


def test_a_collapsed_block():
    model = applied(4, 6, (5, 3), 2, collapsed=True, expansion=100)
    norm, act, conv = model.layers[1:]
    assert type(norm) is L.BatchNormalization and norm.axis in (-1, 3) and norm.scale and norm.center
    assert type(act) is L.Activation and act.activation is keras.activations.relu
    assert type(conv) is L.Conv2D
    assert (conv.kernel.shape, conv.strides, conv.padding, conv.use_bias) == ((5, 3, 4, 6), (2, 2), "same", True)
    assert norm.moving_mean.shape == (4,)
    assert model.output_shape == (None, 5, 4, 6)


def test_an_inverted_bottleneck():
    model = applied(4, 6, (5, 3), 2, 3)
    layers = dict(zip(BOTTLENECK, model.layers[1:], strict=True))
    expand, depthwise, project = (layers[step] for step in ("expand", "depthwise", "project"))
    assert type(expand) is type(project) is L.Conv2D and type(depthwise) is L.DepthwiseConv2D
    assert (expand.kernel.shape, expand.strides) == ((1, 1, 4, 12), (1, 1))
    assert (depthwise.kernel.shape, depthwise.strides, depthwise.padding) == ((5, 3, 12, 1), (2, 2), "same")
    assert (project.kernel.shape, project.strides) == ((1, 1, 12, 6), (1, 1))
    assert not expand.use_bias and not depthwise.use_bias and not project.use_bias
    for step, size in (("expand", 12), ("depthwise", 12), ("project", 6)):
        norm = layers[f"{step}_norm"]
        assert type(norm) is L.BatchNormalization and norm.gamma.shape == (size,)
    assert layers["expand_act"].activation is layers["depthwise_act"].activation is keras.activations.relu
    assert model.output_shape == (None, 5, 4, 6)


def test_variant_3():
    bottleneck, convolution = applied(8, 8, variant=3), applied(8, 8, variant=3, collapsed=True)
    kernels = [layer.kernel.shape for layer in bottleneck.layers if hasattr(layer, "kernel")]
    # Both parts expand to a multiple of the block's input.
    assert kernels == [(1, 1, 8, 48), (3, 3, 48, 1), (1, 1, 48, 4), (1, 1, 4, 48), (3, 3, 48, 1), (1, 1, 48, 8)]
    kernels = [layer.kernel.shape for layer in convolution.layers if hasattr(layer, "kernel")]
    assert kernels == [(3, 3, 8, 4), (3, 3, 4, 8)]
    assert bottleneck.output_shape == convolution.output_shape == (None, 9, 8, 8)


@pytest.mark.parametrize("collapsed", [True, False])
@pytest.mark.parametrize("variant", [1, 2, 3])
def test_residuals(variant, collapsed):
    model = applied(4, 4, variant=variant, collapsed=collapsed)
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 4)).astype("float32")
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.assign(np.zeros(layer.kernel.shape))
    expected = 0 * x if variant == 1 else x
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(x)), expected, atol=1e-6)


@pytest.mark.parametrize("collapsed", [True, False])
def test_what_it_computes(collapsed):
    """Step by step, by layers that are called here."""
    model = applied(4, 4, collapsed=collapsed, activation="hard_swish", variant=2)
    random = np.random.default_rng(0)
    for weight in model.weights:
        low = 0.5 if weight.name in ("gamma", "moving_variance") else -1
        weight.assign(random.uniform(low, 1.5, weight.shape))
    x = random.normal(size=(2, 9, 8, 4)).astype("float32")
    y = x
    for step in COLLAPSED if collapsed else BOTTLENECK:
        layer = model.get_layer(f"b_{step}")
        y = keras.activations.hard_silu(y) if step.endswith("act") else layer(y)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model(x)), keras.ops.convert_to_numpy(y) + x, rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("collapsed", [True, False])
def test_channels_first(collapsed):
    model = applied(4, 6, 3, 2, collapsed=collapsed, data_format="channels_first", activation="prelu")
    assert model.output_shape == (None, 6, 5, 4)
    for layer in model.layers[1:]:
        if isinstance(layer, L.BatchNormalization):
            assert layer.axis == 1
        elif isinstance(layer, L.PReLU):
            assert layer.alpha.shape == (layer.input.shape[1], 1, 1)
        else:
            assert layer.data_format == "channels_first"


def test_prelu_shares_its_slopes_over_the_image():
    model = applied(4, 6, activation="prelu")
    assert [layer.alpha.shape for layer in model.layers if isinstance(layer, L.PReLU)] == [(1, 1, 24)] * 2


def test_unknown_sizes():
    assert applied(4, 6, 3, 2, size=(None, None)).output_shape == (None, None, None, 6)
    assert applied(4, 4, variant=3, collapsed=True, size=(None, 6)).output_shape == (None, None, 6, 4)


@pytest.mark.parametrize("collapsed", [True, False])
def test_arguments_of_every_layer(collapsed):
    model = applied(4, 4, collapsed=collapsed, variant=3, dtype="mixed_bfloat16", trainable=False)
    for layer in model.layers[1:]:
        assert layer.dtype_policy.name == "mixed_bfloat16", layer.name
        assert not layer.trainable, layer.name
    assert model.trainable_weights == []


@pytest.mark.parametrize("collapsed", [True, False])
def test_momentum(collapsed):
    def momenta(**options):
        model = applied(4, 4, collapsed=collapsed, variant=3, **options)
        return {layer.momentum for layer in model.layers if isinstance(layer, L.BatchNormalization)}

    assert (momenta(), momenta(momentum=0.5)) == ({0.99}, {0.5})


def test_called_again_it_applies_the_same_layers():
    inputs = keras.Input((9, 8, 4))
    block = RestructuredBlock(4, 4, collapsed=True, name="b")
    model = keras.Model(inputs, block(block(inputs)))
    assert len(model.weights) == 6
    x = np.random.default_rng(0).normal(size=(1, 9, 8, 4)).astype("float32")
    once = keras.Model(inputs, block(inputs))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model(x)), keras.ops.convert_to_numpy(once(once(x))), atol=1e-5
    )


ERRORS = [
    ((4, 6), {"variant": 2}, "Expected strides=1 and as many filters as input channels for variant 2 of AFRB 'b'"),
    ((4, 4, 3, 2), {"variant": 3}, "variant 3 .*strides=2"),
    ((5, 5), {"variant": 3}, "Expected an even number of filters for variant 3"),
    ((4, 6), {"expansion": 0.01}, "Expected an expansion .* that leaves hidden channels"),
    ((4, 6), {"activation": "wobble"}, "Received: 'wobble'"),
]


@pytest.mark.parametrize(("arguments", "options", "message"), ERRORS)
def test_bad_input(arguments, options, message):
    with pytest.raises(InputError, match=message):
        RestructuredBlock(*arguments, name="b", **options)
