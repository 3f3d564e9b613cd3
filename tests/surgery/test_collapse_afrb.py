"""collapse_afrb: at alpha = 1 the outputs stay, the border included; names, weights, warnings and refusals."""

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.layers import AFRB
from keras_actnas.layers.afrb import afrb_layers
from keras_actnas.models import RANE, Block, RANESuperNet
from keras_actnas.surgery import collapse_afrb, linear_blocks, rounding_error

L = keras.layers
BACKEND = keras.backend.backend()
only_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="needs the TensorFlow backend")
ignore_rounding = pytest.mark.filterwarnings("ignore:Alpha was rounded")

CASES = {
    # Variant, input channels, filters, strides, height and width, kernel.
    "expanding": (1, 4, 6, 1, (7, 6), 3),
    "same shape without residual": (1, 4, 4, 1, (6, 6), 3),
    "strides, odd sizes": (1, 4, 6, 2, (9, 7), 3),
    "strides, even sizes": (1, 4, 6, 2, (8, 10), 3),
    "strides, odd and even": (1, 5, 3, 2, (8, 7), (3, 5)),
    "strides, large kernel": (1, 3, 4, 2, (9, 6), 7),
    "strides of 3": (1, 3, 4, 3, (10, 11), 5),
    "strides beyond the kernel": (1, 3, 4, 4, (10, 9), 3),
    "smaller than the kernel": (1, 3, 4, 1, (2, 1), 5),
    "residual": (2, 4, 4, 1, (6, 7), 3),
    "residual, flat kernel": (2, 4, 4, 1, (7, 6), (1, 5)),
    "two parts": (3, 4, 4, 1, (6, 7), 3),
    "two parts, large kernel": (3, 6, 6, 1, (9, 8), (7, 3)),
}


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def images(shape, count=2, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")


def settle(model, seed=0, shift=1.0, **alphas):
    """Gives a model random weights and BatchNorm values, with means up to `shift`; alpha as named, else 1."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(random.uniform(-shift, shift, weight.shape))
        elif weight.name == "kernel":
            window = np.prod(weight.shape[:2]) if len(weight.shape) == 4 else 1
            fan_in = window * (1 if len(weight.shape) == 4 and weight.shape[3] == 1 else weight.shape[-2])
            weight.assign(random.normal(0, 1 / np.sqrt(fan_in), weight.shape))
    for block in afrb_layers(model):
        block.alpha.assign(alphas.get(block.name, 1.0))
    return model


def of_blocks(shape, *blocks, name=None):
    inputs = keras.Input(shape)
    x = inputs
    for block in blocks:
        x = block(x)
    return keras.Model(inputs, x, name=name)


def single(case, name="block", data_format="channels_last", **options):
    variant, channels, filters, strides, size, kernel = CASES[case]
    block = AFRB(filters, kernel, strides, 3, variant, name=name, data_format=data_format, **options)
    return settle(of_blocks((*size, channels) if data_format == "channels_last" else (channels, *size), block))


def difference(model, copy, x=None):
    """Returns the largest difference of two models' outputs, as a share of the outputs' range."""
    x = images(model.input_shape[1:]) if x is None else x
    one, other = numpy(model(x)), numpy(copy(x))
    assert one.shape == other.shape and np.ptp(one) > 0.1
    return np.abs(one - other).max() / np.ptp(one)


def names(model):
    return [layer.name for layer in model.layers if not isinstance(layer, L.InputLayer)]


def layer_types(model):
    return {type(layer) for layer in model._flatten_layers(include_self=False) if not isinstance(layer, keras.Model)}


KERAS_ONLY = {L.InputLayer, L.BatchNormalization, L.Activation, L.Conv2D, L.DepthwiseConv2D, L.Add}


@pytest.mark.parametrize("case", list(CASES))
def test_at_alpha_1_it_is_exact(case):
    model = single(case)
    collapsed = collapse_afrb(model)
    assert difference(model, collapsed) < 1e-5
    variant, channels, filters, strides, _, kernel = CASES[case]
    prefixes = ["block"] if variant != 3 else ["block_part1", "block_part2"]
    steps = [f"{prefix}_{step}" for prefix in prefixes for step in ("norm", "act", "conv")]
    assert names(collapsed) == steps + ["block_add"] * (variant > 1)
    assert layer_types(collapsed) <= KERAS_ONLY - {L.DepthwiseConv2D}
    sizes = (kernel, kernel) if isinstance(kernel, int) else kernel
    convs = [collapsed.get_layer(f"{prefix}_conv") for prefix in prefixes]
    between = [channels, filters] if variant != 3 else [channels, filters // 2, filters]
    assert [conv.kernel.shape for conv in convs] == [
        (*sizes, *pair) for pair in zip(between, between[1:], strict=False)
    ]
    assert convs[0].strides == (strides, strides)


@pytest.mark.parametrize("case", ["strides, even sizes", "strides, odd and even", "residual, flat kernel", "two parts"])
def test_channels_first(case):
    model = single(case, data_format="channels_first")
    collapsed = collapse_afrb(model)
    assert difference(model, collapsed) < 1e-5
    formats = {layer.data_format for layer in collapsed.layers if hasattr(layer, "data_format")}
    axes = {layer.axis for layer in collapsed.layers if isinstance(layer, L.BatchNormalization)}
    assert (formats, axes) == ({"channels_first"}, {1})


@pytest.mark.parametrize("expansion", [0.5, 1, 6, 2.3])
def test_expansions(expansion):
    block = AFRB(6, 3, 2, expansion, name="block")
    model = settle(of_blocks((9, 8, 4), block))
    assert difference(model, collapse_afrb(model)) < 1e-5


def test_images_of_unknown_size():
    model = settle(of_blocks((None, None, 4), AFRB(4, 3, 2, name="a"), AFRB(4, variant=3, name="b")))
    collapsed = collapse_afrb(model)
    for size in ((7, 8), (4, 9), (1, 1)):
        assert difference(model, collapsed, images((*size, 4))) < 1e-5


# In networks.


def test_a_functional_model():
    inputs = keras.Input((9, 8, 4))
    x = L.ReLU(name="first")(inputs)
    y = AFRB(4, name="a")(x)
    z = AFRB(6, strides=2, name="b")(L.Add(name="sum")([x, y]))
    w = AFRB(6, variant=3, name="c")(z)
    model = settle(keras.Model(inputs, {"one": L.Concatenate(name="joined")([z, w]), "two": y}, name="net"))
    collapsed = collapse_afrb(model)
    x = images((9, 8, 4))
    received, expected = collapsed(x), model(x)
    for key in ("one", "two"):
        np.testing.assert_allclose(numpy(received[key]), numpy(expected[key]), atol=1e-4)
    assert collapsed.name == "net" and set(expected) == set(received)
    assert names(collapsed) == [
        *("first", "a_norm", "a_act", "a_conv", "a_add", "sum", "b_norm", "b_act", "b_conv"),
        *("c_part1_norm", "c_part1_act", "c_part1_conv", "c_part2_norm", "c_part2_act", "c_part2_conv", "c_add"),
        "joined",
    ]


def test_a_sequential_model():
    blocks = [L.Conv2D(4, 1, name="stem"), AFRB(4, name="a"), L.ReLU(name="between"), AFRB(6, strides=2, name="b")]
    model = settle(keras.Sequential([keras.Input((9, 8, 3), name="image"), *blocks, L.Flatten()], name="net"))
    collapsed = collapse_afrb(model)
    assert difference(model, collapsed) < 1e-5
    assert isinstance(collapsed, keras.Model) and not isinstance(collapsed, keras.Sequential)
    assert (collapsed.name, collapsed.input_shape) == ("net", (None, 9, 8, 3))
    assert names(collapsed)[:6] == ["stem", "a_norm", "a_act", "a_conv", "a_add", "between"]


def test_nested_models():
    inner = of_blocks((9, 8, 4), L.ReLU(), AFRB(4, name="deep"), name="inner")
    middle = keras.Sequential([keras.Input((9, 8, 4)), inner, AFRB(4, variant=3, name="middle")], name="outer")
    plain = keras.Sequential([keras.Input((9, 8, 4)), L.Conv2D(4, 3)], name="plain")
    inputs = keras.Input((9, 8, 4))
    model = settle(keras.Model(inputs, plain(AFRB(4, name="top")(middle(inputs)))))
    collapsed = collapse_afrb(model)
    assert difference(model, collapsed) < 1e-5
    assert afrb_layers(collapsed) == []
    outer = collapsed.get_layer("outer")
    assert names(outer)[0] == "inner" and names(outer)[-1] == "middle_add"
    assert names(outer.get_layer("inner"))[1:] == ["deep_norm", "deep_act", "deep_conv", "deep_add"]
    assert isinstance(collapsed.get_layer("plain"), keras.Sequential)


def test_a_shared_block_stays_shared():
    block = AFRB(4, name="block")
    inner = of_blocks((9, 8, 4), AFRB(4, variant=3, name="inside"), name="inner")
    inputs = keras.Input((9, 8, 4))
    model = settle(keras.Model(inputs, inner(block(inner(block(inputs))))))
    collapsed = collapse_afrb(model)
    assert difference(model, collapsed) < 1e-5
    assert len(collapsed.weights) == (4 + 2) * 3
    assert len(collapsed.get_layer("block_conv")._inbound_nodes) >= 2


@ignore_rounding
def test_blocks_of_one_name_in_nested_models():
    """Each by its own alpha."""
    inner = of_blocks((9, 8, 4), AFRB(4, alpha_initializer="ones", name="block"), name="inner")
    inputs = keras.Input((9, 8, 4))
    model = keras.Model(inputs, inner(AFRB(4, alpha_initializer="zeros", name="block")(inputs)))
    assert linear_blocks(model) == ["block"]
    collapsed = collapse_afrb(model)
    assert "block_conv" in names(collapsed.get_layer("inner"))
    assert "block_project" in names(collapsed)
    collapsed = collapse_afrb(model, blocks=["block"], rounding=True)
    assert "block_conv" in names(collapsed.get_layer("inner")) and "block_conv" in names(collapsed)


def test_names_that_keras_gives():
    keras.backend.clear_session()
    model = settle(of_blocks((9, 8, 4), *(AFRB(4, variant=variant) for variant in (3, 1, 3))))
    assert [block.name for block in afrb_layers(model)] == ["afrb", "afrb_1", "afrb_2"]
    assert difference(model, collapse_afrb(model)) < 1e-5
    collapse_afrb(model, blocks=[])


# What becomes a bottleneck.

INNER = {"expanding": 1, "residual": 1, "strides, odd sizes": 1, "two parts": 2, "strides, even sizes": 1}


@pytest.mark.parametrize("case", list(INNER))
def test_bottlenecks_equal_blocks_of_alpha_0_where_the_new_activation_is_inactive(case):
    """All that is expanded is positive; and away from the border, where a bottleneck pads later."""
    model = single(case)
    (block,) = afrb_layers(model)
    block.alpha.assign(0)
    for part, shift in zip(block.parts, (30.0, 300.0), strict=False):  # The first part's outputs are as large.
        part.expand_norm.beta.assign(np.full(part.expand_norm.beta.shape, shift))
    bottleneck = collapse_afrb(model)
    steps = ["expand", "expand_norm", "expand_act", "depthwise", "depthwise_norm", "depthwise_act", "project"]
    prefixes = ["block"] if len(block.parts) == 1 else ["block_part1", "block_part2"]
    expected = [f"{prefix}_{step}" for prefix in prefixes for step in [*steps, "project_norm"]]
    assert names(bottleneck) == expected + ["block_add"] * block.geometry.residual
    assert layer_types(bottleneck) <= KERAS_ONLY

    x = images(model.input_shape[1:])
    one, other = numpy(model(x)), numpy(bottleneck(x))
    edge = slice(INNER[case], -INNER[case])
    np.testing.assert_allclose(other[:, edge, edge], one[:, edge, edge], rtol=0, atol=1e-5 * np.ptp(one))
    assert np.abs(one - other).max() > 1e-3 * np.ptp(one), "the border should differ"


def test_the_activation_that_was_left_out_is_back():
    model = single("expanding")
    afrb_layers(model)[0].alpha.assign(0)
    bottleneck = collapse_afrb(model)
    part = afrb_layers(model)[0].parts[0]
    x = images(model.input_shape[1:])
    expanded = part.expand_norm(part.expand(part.norm(x)))
    y = keras.Model(bottleneck.input, bottleneck.get_layer("block_expand_act").output)(x)
    np.testing.assert_allclose(numpy(y), np.maximum(numpy(expanded), 0), atol=1e-5)
    y = keras.ops.relu(part.depthwise_norm(part.depthwise(L.ZeroPadding2D(1)(y))))
    np.testing.assert_allclose(numpy(bottleneck(x)), numpy(part.project_norm(part.project(y))), atol=1e-4)


def test_activations():
    model = of_blocks((9, 8, 4), AFRB(4, name="a"), AFRB(4, name="b"))
    settle(model, a=0.0)
    for activation, function in (("relu", "relu"), ("hard_swish", "hard_silu"), ("relu6", "relu6")):
        collapsed = collapse_afrb(model, activation=activation)
        acts = [layer.activation.__name__ for layer in collapsed.layers if isinstance(layer, L.Activation)]
        assert acts == [function] * 3
    with pytest.raises(InputError, match="Received: 'wobble'"):
        collapse_afrb(model, activation="wobble")


# The super-network.

STAGES = [
    Block("one", 6, expansion=2),
    Block("two", 8, expansion=3, strides=2),
    Block("three", 8, expansion=2, kernel_size=5),
    Block("four", 8, expansion=2, variant=3),
    Block("five", 8, expansion=1.5, variant=1),
    Block("six", 10, expansion=2, strides=2, kernel_size=7),
]
SIZES = {"input_shape": (27, 26, 3), "num_classes": 5, "stem_filters": 4, "top_filters": 12, "top_kernel_size": 3}


def test_a_super_network_of_linear_blocks():
    model = settle(RANESuperNet(STAGES, activation="relu", classifier_activation=None, **SIZES), shift=0.05)
    one, other = numpy(model(images(model.input_shape[1:])))
    assert np.abs(one - other).max() > 0.05 * np.ptp([one, other]), "the outputs do not depend on the image"
    assert difference(model, collapse_afrb(model)) < 1e-5


@ignore_rounding
@pytest.mark.parametrize("seed", [0, 1])
def test_a_super_network_of_any_alphas(seed):
    alphas = np.random.default_rng(seed).uniform(0.2, 1.6, len(STAGES))
    model = settle(
        RANESuperNet(STAGES, **SIZES), seed, **dict(zip([block.name for block in STAGES], alphas, strict=True))
    )
    linear = [0.8 <= alpha <= 1.3 for alpha in alphas]
    assert 0 < sum(linear) < len(STAGES)
    assert linear_blocks(model) == [block.name for block, flag in zip(STAGES, linear, strict=True) if flag]

    collapsed = collapse_afrb(model, activation="hard_swish")
    blocks = [Block(**{**vars(block), "collapsed": flag}) for block, flag in zip(STAGES, linear, strict=True)]
    network = RANE(blocks, **SIZES)
    assert names(collapsed) == names(network)
    for one, other in zip(collapsed.layers, network.layers, strict=True):
        assert type(one) is type(other)
        ours, theirs = one.get_config(), other.get_config()
        assert {key for key in ours if ours[key] != theirs[key]} <= {"kernel_initializer"}, one.name
        assert one.trainable == other.trainable and one.output.shape == other.output.shape
    network.set_weights(collapsed.get_weights())
    assert difference(network, collapsed) == 0


@ignore_rounding
def test_what_is_not_a_block_keeps_its_weights():
    model = settle(RANESuperNet(STAGES, **SIZES), one=0.9, three=0.1)
    collapsed = collapse_afrb(model)
    for name in ("stem", "top_conv", "top_conv_norm", "top_depthwise", "top_depthwise_norm", "classifier"):
        for one, other in zip(model.get_layer(name).weights, collapsed.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(numpy(one), numpy(other))


# Original and copy.


@ignore_rounding
def test_the_original_stays_as_it_is_whatever_becomes_of_the_copy():
    model = settle(
        of_blocks((9, 8, 4), AFRB(4, name="a"), AFRB(4, variant=3, name="b"), L.Flatten(), L.Dense(2)), a=0.0
    )
    model.compile("sgd", "mse")
    x = images((9, 8, 4), 4)
    output, weights = numpy(model(x)), [numpy(weight).copy() for weight in model.weights]
    collapsed = collapse_afrb(model)
    assert not collapsed.compiled
    assert not {id(layer) for layer in model._flatten_layers()} & {id(layer) for layer in collapsed._flatten_layers()}
    collapsed.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=BACKEND == "jax")
    before = collapsed.get_weights()
    collapsed.fit(x, np.ones((4, 2)), epochs=2, verbose=0)
    assert any(np.any(old != new) for old, new in zip(before, collapsed.get_weights(), strict=True))
    np.testing.assert_array_equal(numpy(model(x)), output)  # On JAX, deleted arrays would raise.
    for weight, old in zip(model.weights, weights, strict=True):
        np.testing.assert_array_equal(numpy(weight), old)


def test_a_file_of_the_copy_needs_nothing_of_this_package(tmp_path):
    model = single("two parts")
    collapsed = collapse_afrb(model)
    collapsed.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    assert difference(collapsed, loaded) == 0
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}


def test_trainable_flags():
    model = of_blocks((9, 8, 4), L.Conv2D(4, 1, name="stem"), AFRB(4, name="a"), AFRB(4, variant=3, name="b"))
    settle(model, a=0.0)
    for name in ("stem", "b"):
        model.get_layer(name).trainable = False
    collapsed = collapse_afrb(model)
    flags = {layer.name: layer.trainable for layer in collapsed.layers if layer.weights}
    assert flags == {name: name.startswith("a_") for name in flags}
    assert len(flags) == 1 + 6 + 4 and len(collapsed.trainable_weights) == 3 + 6

    model.trainable = False
    assert collapse_afrb(model).trainable_weights == []


@pytest.mark.parametrize(("policy", "share"), [("mixed_bfloat16", 0.05), ("mixed_float16", 0.01), ("float16", 0.01)])
def test_dtype_policies(policy, share):
    model = single("residual", dtype=policy)
    collapsed = collapse_afrb(model)
    assert {layer.dtype_policy.name for layer in collapsed.layers[1:]} == {policy}
    assert {keras.backend.standardize_dtype(weight.dtype) for weight in collapsed.weights} == (
        {"float16"} if policy == "float16" else {"float32"}
    )
    x = images(model.input_shape[1:])
    one, other = (numpy(keras.ops.cast(net(x), "float32")) for net in (model, collapsed))
    np.testing.assert_allclose(one, other, rtol=0, atol=share * np.ptp(one))
    assert rounding_error(afrb_layers(model)[0]) == 0


@ignore_rounding
def test_momentum():
    model = settle(of_blocks((9, 8, 4), AFRB(4, momentum=0.5, name="a"), AFRB(4, momentum=0.9, name="b")), b=0.0)
    norms = [layer for layer in collapse_afrb(model).layers if isinstance(layer, L.BatchNormalization)]
    assert [(layer.name[0], layer.momentum) for layer in norms] == [("a", 0.5)] + 3 * [("b", 0.9)]


def test_a_global_policy_is_not_taken_over():
    model = single("residual")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        collapsed = collapse_afrb(model)
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.dtype_policy.name for layer in collapsed.layers[1:]} == {"float32"}


@only_tensorflow
@pytest.mark.parametrize(("case", "convolutions"), [("strides, odd sizes", 1), ("residual", 1), ("two parts", 2)])
def test_tflite(case, convolutions, tmp_path):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    from keras_actnas.export import to_tflite
    from keras_actnas.export.schema import operator_name, read_model
    from keras_actnas.surgery import set_batch_size

    model = single(case)
    to_tflite(set_batch_size(collapse_afrb(model)), tmp_path / "net.tflite")
    data = (tmp_path / "net.tflite").read_bytes()
    written = read_model(data)
    operators = [operator_name(written, operator) for operator in written.subgraphs[0].operators]
    assert operators.count("CONV_2D") == convolutions
    assert "DEPTHWISE_CONV_2D" not in operators

    interpreter = litert.Interpreter(model_content=data)
    interpreter.allocate_tensors()
    x = images(model.input_shape[1:], 1)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    output, expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), numpy(model(x))
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5 * np.ptp(expected))


# Rounding.


def test_rounding_is_told_with_what_it_changes():
    model = settle(of_blocks((9, 8, 4), *(AFRB(4, name=name) for name in "abc")), a=0.9, b=1.0, c=1.2)
    errors = {block.name: rounding_error(block) for block in afrb_layers(model)}
    with pytest.warns(
        UserWarning, match="Alpha was rounded to 1, which changes .* Train the network further"
    ) as caught:
        collapsed = collapse_afrb(model)
    (warning,) = (warning for warning in caught if "Alpha was" in str(warning.message))
    assert warning.filename == __file__
    message = str(warning.message)
    assert f"'a' (alpha 0.900: {errors['a']:.1%})" in message
    assert f"'c' (alpha 1.200: {errors['c']:.1%})" in message
    assert "'b'" not in message
    # The copy is that of the rounded network.
    assert difference(settle(model), collapsed) < 1e-5


def test_rounding_error_is_the_change_of_the_output():
    for case in ("two parts", "strides, even sizes"):
        model = single(case)
        (block,) = afrb_layers(model)
        norm = block.parts[0].norm
        shape = (64, *model.input_shape[1:])
        random = np.random.default_rng(7)
        x = random.normal(numpy(norm.moving_mean), np.sqrt(numpy(norm.moving_variance)), shape).astype("float32")
        shortcut = x if block.geometry.residual else 0
        linear = numpy(model(x)) - shortcut
        block.alpha.assign(0.7)
        own = numpy(model(x)) - shortcut
        expected = np.sqrt(np.mean(np.square(linear - own))) / np.std(own)
        # On images of another size, whose border is another share.
        assert rounding_error(block, samples=64, size=model.input_shape[1]) == pytest.approx(expected, rel=0.1), case
        assert block.alpha_value() == pytest.approx(0.7)


def test_rounding_error_grows_with_the_distance():
    model = single("two parts")
    (block,) = afrb_layers(model)
    errors = []
    for alpha in (1.0, 0.99, 0.9, 0.8, 0.5, 0.0):
        block.alpha.assign(alpha)
        errors.append(rounding_error(block))
    assert errors[0] == 0 and errors[1] < 0.05 < errors[-1]
    assert errors == sorted(errors)
    assert rounding_error(block, samples=2, size=5) == pytest.approx(errors[-1], rel=0.5)


def test_rounding_error_of_channels_first():
    last, first = (single("residual", data_format=name) for name in ("channels_last", "channels_first"))
    for model in (last, first):
        afrb_layers(model)[0].alpha.assign(0.5)
    expected = rounding_error(afrb_layers(last)[0])
    assert rounding_error(afrb_layers(first)[0]) == pytest.approx(expected, rel=1e-4) and expected > 0.01


# What is collapsed.


def three(**alphas):
    model = of_blocks((9, 8, 4), *(AFRB(4, expansion=1, name=name) for name in "abc"))
    return settle(model, **{"a": 0.3, "b": 1.0, "c": -0.2, **alphas})


def collapsed_of(model):
    return [name[0] for name in names(model) if name.endswith("_conv")]


@ignore_rounding
def test_which_blocks_are_collapsed():
    assert collapsed_of(collapse_afrb(three())) == ["b"]
    assert collapsed_of(collapse_afrb(three(a=0.8, c=1.3))) == ["a", "b", "c"]
    assert collapsed_of(collapse_afrb(three(a=0.79, c=1.31))) == ["b"]
    assert collapsed_of(collapse_afrb(three(), linear=(-1, 0.5))) == ["a", "c"]
    assert collapsed_of(collapse_afrb(three(), linear=[1, 1])) == ["b"]
    assert collapsed_of(collapse_afrb(three(b=0.5))) == []
    assert collapsed_of(collapse_afrb(three(), blocks=["b"])) == ["b"]
    assert collapsed_of(collapse_afrb(three(), blocks="b")) == ["b"]
    assert collapsed_of(collapse_afrb(three(), blocks=[])) == []
    assert collapsed_of(collapse_afrb(three(), blocks=("a", "c"), rounding=True)) == ["a", "c"]
    assert collapsed_of(collapse_afrb(three(a=0.9), blocks={"a"})) == ["a"]


def test_linear_blocks():
    assert linear_blocks(three()) == ["b"]
    assert linear_blocks(three(a=1.3, c=0.8)) == ["a", "b", "c"]
    assert linear_blocks(three(), (-1, 0.5)) == ["a", "c"]
    assert linear_blocks(three(b=0.5)) == []


def refuses(message, function, *arguments, **options):
    with pytest.raises(InputError, match=message):
        function(*arguments, **options)


def test_alphas_that_were_not_trained_are_refused():
    message = (
        "Expected a model whose alphas were trained. Received: all 2 are as at the start, such as 0.25; train with"
    )
    model = of_blocks((9, 8, 4), AFRB(4, name="a"), AFRB(4, name="b"))
    refuses(message, collapse_afrb, model)
    refuses(message, linear_blocks, model)
    assert linear_blocks(model, (0.2, 0.3)) == ["a", "b"]
    collapse_afrb(model, blocks=[])  # Asked for by name, they need not be trained.
    model.get_layer("b").alpha.assign(0.26)
    assert collapsed_of(collapse_afrb(model)) == []
    other = of_blocks((9, 8, 4), AFRB(4, alpha_initializer="zeros", name="a"), AFRB(4, name="b"))
    refuses("all 2 are as at the start, such as 0;", collapse_afrb, other)
    ones = of_blocks((9, 8, 4), AFRB(4, alpha_initializer="ones", name="a"), AFRB(4, name="b"))
    assert collapsed_of(collapse_afrb(ones)) == ["a"]


def test_blocks_that_are_refused():
    model = three()
    refuses("Expected names of AFRBs. Received: 'd'", collapse_afrb, model, blocks=["b", "d"])
    refuses("Expected names of AFRBs. Received: 'nothing'", collapse_afrb, model, blocks="nothing", rounding=True)
    refuses(
        "Expected blocks that are linear, with alpha from 0.8 to 1.3. Received: 2 that are not, such as 'a' with "
        "alpha 0.300; pass rounding=True",
        collapse_afrb,
        model,
        blocks=["a", "b", "c"],
    )
    refuses("alpha from 0.5 to 2. Received: 1 that are not, such as 'c'", collapse_afrb, model, (0.5, 2), ["b", "c"])
    with pytest.warns(UserWarning, match=r"'a' \(alpha 0.300: \d+\.\d%\), 'c' \(alpha -0.200: \d+\.\d%\)"):
        collapse_afrb(model, blocks=["a", "b", "c"], rounding=True)


def test_a_name_that_is_nearly_right():
    model = settle(of_blocks((9, 8, 4), AFRB(4, name="stage3"), AFRB(4, name="stage4")))
    refuses("Received: 'stage_3'.*stage3", collapse_afrb, model, blocks=["stage_3"])


def test_ranges_that_are_refused():
    message, model = "Expected linear to be the smallest and the largest alpha. Received: ", three()
    for linear in ((1.3, 0.8), 0.8, (0.8,), (0.8, 1, 1.3), ("a", "b"), (0.8, float("nan")), None):
        refuses(message, collapse_afrb, model, linear)
        refuses(message, linear_blocks, model, linear)


@keras.saving.register_keras_serializable(package="keras_actnas_tests")
class Hiding(L.Layer):
    """A layer with a block inside."""

    def __init__(self, **options):
        super().__init__(**options)
        self.block = AFRB(4, alpha_initializer="ones", name="hidden")

    def build(self, shape):
        self.block.build(shape)

    def call(self, inputs):
        return self.block(inputs)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.block = AFRB(4, alpha_initializer="ones")

    def call(self, inputs):
        return self.block(inputs)


def test_models_that_are_refused():
    plain = keras.Sequential([keras.Input((9, 8, 4)), L.Conv2D(4, 1)], name="plain")
    refuses("Expected a model with AFRB layers. Received: 'plain', which has none", collapse_afrb, plain)
    refuses("Expected a model with AFRB layers. Received: 'plain', which has none", linear_blocks, plain)
    hiding = of_blocks((9, 8, 4), AFRB(4, alpha_initializer="ones", name="seen"), Hiding())
    refuses("Expected AFRBs that the model's graph holds. Received: 'hidden' inside of another", collapse_afrb, hiding)
    wrapped = of_blocks((2, 9, 8, 4), L.TimeDistributed(AFRB(4, alpha_initializer="ones", name="wrapped")))
    refuses("Expected AFRBs that the model's graph holds. Received: 'wrapped'", collapse_afrb, wrapped)
    subclassed = Subclassed()
    subclassed(images((9, 8, 4)))
    refuses("Expected a functional or Sequential Keras model", collapse_afrb, subclassed)
