"""ConvNeXt and RAN-i: Keras's own ConvNeXt-T to the last parameter, the paper's figures, files, TFLite, errors."""

import collections
import dataclasses

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.export import to_tflite
from keras_actnas.layers import ExponentialKernel, LayerScale
from keras_actnas.models import RANI, ConvNeXt, ConvNeXtConfig
from keras_actnas.search import count_macs
from keras_actnas.surgery import activation_sites, replace_activations

SMALL = {"widths": (10, 21, 33), "depths": (2, 1, 2), "input_shape": (37, 46, 3), "num_classes": 7}
"""Nothing of it can be divided by anything."""

PAPER = {
    "ConvNeXt-T": ({}, "28.6", "4.47"),
    "40% pruned": ({"expansion": 2.4}, "18.2", "2.80"),
    "27.5% pruned": ({"expansion": 2.9}, "21.5", "3.32"),
    "Model A": ({"linear_fraction": 0.4}, "21.5", "3.32"),
    "Model B": ({"linear_fraction": 0.4, "linear_activation": "gelu"}, "21.5", "3.32"),
    "Model C": ({"linear_fraction": 0.4, "linear_activation": "exponential"}, "21.5", "3.32"),
    "RAN-i-T": ({"widths": (64, 128, 256, 511), "depths": (5, 5, 15, 5)}, "20.76", "3.30"),
    "RAN-i-S": ({"widths": (76, 151, 303, 606), "depths": (5, 5, 15, 5)}, "28.93", "4.59"),
    "RAN-i-B": ({"widths": (87, 175, 350, 699), "depths": (7, 7, 21, 7)}, "52.89", "8.45"),
}


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


def shaken(model):
    """Gives a model weights as after training: layer scale of about 1, so that blocks matter."""
    random = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(random.normal(float(weight.name == "gamma"), 0.1, weight.shape))
    return model


def pixels(*shape):
    return np.random.default_rng(2).normal(size=shape).astype("float32")


def outputs(model, images, **options):
    return np.asarray(model(images, **options))


def test_it_is_the_convnext_tiny_of_keras():
    reference = shaken(
        keras.applications.ConvNeXtTiny(
            weights=None, include_preprocessing=False, input_shape=(64, 64, 3), classifier_activation=None
        )
    )
    model = ConvNeXt(input_shape=(64, 64, 3))
    assert model.count_params() == reference.count_params() == 28_589_128
    for own, other in zip(model.weights, reference.weights, strict=True):
        # Dense layers there are 1x1 convolutions here, and grouped convolutions depthwise ones.
        squeezed = [tuple(size for size in weight.shape if size != 1) for weight in (own, other)]
        assert squeezed[0] == squeezed[1]
        own.assign(np.reshape(other, own.shape))
    images = pixels(2, 64, 64, 3)
    expected = outputs(reference, images)
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(outputs(model, images), expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", PAPER)
def test_parameters_and_macs_of_the_paper(name):
    options, parameters, macs = PAPER[name]
    config = ConvNeXtConfig(**options)
    digits = len(parameters.split(".")[1])
    assert f"{config.parameters() / 1e6:.{digits}f}" == parameters
    # With one operation more for each number that a block's LayerNorm or GELU puts out, all are the paper's.
    blocks = [(block, pixel) for block, pixel in zip(config.blocks(), _pixels_of_blocks(config), strict=True)]
    more = sum(pixel * (block.width + block.curved) for block, pixel in blocks)
    assert f"{(config.macs() + more) / 1e9:.2f}" == macs
    assert config.macs() == pytest.approx(float(macs) * 1e9, rel=0.005)


def _pixels_of_blocks(config):
    sides = [56 // 2**stage for stage, depth in enumerate(config.depths) for _ in range(depth)]
    return [side * side for side in sides]


def test_the_blocks_of_section_4_cost_the_same():
    a, b, c = (ConvNeXtConfig(**PAPER[f"Model {name}"][0]) for name in "ABC")
    pruned = ConvNeXtConfig(expansion=2.9)
    assert len({config.parameters() for config in (a, b, c)}) == 1
    assert {config.macs() for config in (a, b, c)} == {pruned.macs()}
    assert a.parameters() - pruned.parameters() == sum(block.width for block in a.blocks()) // 2  # Biases.


OPTIONS = {
    "plain": {},
    "pruned": {"expansion": 2.4, "layer_scale": None},
    "A": {"linear_fraction": 0.4},
    "not restructured": {"linear_fraction": 0.4, "restructured": False},
    "B": {"linear_fraction": 0.4, "linear_activation": "gelu"},
    "C": {"linear_fraction": 0.4, "linear_activation": "exponential"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_counts_are_those_of_the_model(options):
    config = ConvNeXtConfig(**SMALL, **options)
    model = ConvNeXt(**dataclasses.asdict(config))
    count = count_macs(model)
    assert (config.parameters(), config.macs()) == (count.parameters, count.macs)
    assert model.output_shape == (None, 7)


@pytest.mark.parametrize(("name", "parameters"), [("tiny", "20.76"), ("small", "28.93"), ("base", "52.89")])
def test_rani(name, parameters):
    model = RANI(name, input_shape=(32, 32, 3))
    assert f"{model.count_params() / 1e6:.2f}" == parameters
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert max(rates) == {"tiny": 0.1, "small": 0.2, "base": 0.4}[name]
    assert model.name == f"ran-i-{name}"


def test_rani_takes_the_arguments_of_convnext():
    model = RANI("tiny", drop_path=0.0, input_shape=(32, 32, 1), num_classes=5, name="net")
    assert (model.name, model.input_shape, model.output_shape) == ("net", (None, 32, 32, 1), (None, 5))
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in model.layers)


def test_the_first_weights_are_the_authors():
    model = ConvNeXt(**SMALL)
    kernels = [layer.kernel for layer in model.layers if hasattr(layer, "kernel")]
    assert all(np.std(kernel) == pytest.approx(0.02 * 0.88, rel=0.25) for kernel in kernels)
    assert not any(np.array_equal(*map(np.ravel, pair)) for pair in zip(kernels, kernels[1:], strict=False))
    assert {float(np.max(layer.gamma)) for layer in model.layers if isinstance(layer, LayerScale)} == {
        float(np.float32(1e-6))
    }


def test_drop_path_rises_and_drops_whole_images():
    model = shaken(ConvNeXt(**{**SMALL, "depths": (1, 2, 2)}, drop_path=0.8))
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8])  # The first block is never left out.
    drop = model.get_layer("stages-2-1-drop_path")
    images = np.ones((400, 2, 2, 33), "float32")
    dropped = outputs(drop, images, training=True)
    assert set(np.unique(np.round(dropped, 4))) == {0.0, 5.0}
    assert all(len(np.unique(image)) == 1 for image in dropped)
    assert np.mean(dropped) == pytest.approx(1, abs=4 * 2 / 20)
    np.testing.assert_array_equal(outputs(drop, images), images)
    same = ConvNeXt(**{**SMALL, "depths": (1, 2, 2)})
    same.set_weights(model.get_weights())
    batch = pixels(2, 37, 46, 3)
    np.testing.assert_array_equal(outputs(model, batch), outputs(same, batch))


@pytest.mark.parametrize("activation", [None, "gelu", "exponential"])
def test_the_block_of_figure_8(activation):
    model = ConvNeXt((6,), (1,), input_shape=(8, 8, 3), linear_fraction=0.4, linear_activation=activation)
    shaken(model)
    names = ["stages-0-0-norm", "stages-0-0-act-merge"]
    inside = keras.Model(model.input, [model.get_layer(name).output for name in names])
    x, received = inside(pixels(2, 8, 8, 3))

    def conv(name, x):
        layer = model.get_layer(name)
        return np.asarray(x, "float64") @ np.asarray(layer.kernel, "float64")[0, 0] + np.asarray(layer.bias)

    gelu = keras.activations.gelu
    psi = {None: lambda x: x, "gelu": gelu, "exponential": np.exp}[activation]
    hidden = conv("stages-0-0-pwconv1", x)
    assert hidden.shape[-1] == 14  # 60 % of 24.
    expected = conv("stages-0-0-pwconv2", gelu(hidden)) + psi(conv("stages-0-0-act-linear", x))
    np.testing.assert_allclose(received, expected, atol=1e-5)


def test_activations_are_sites_and_can_be_exchanged():
    model = ConvNeXt(**SMALL, linear_fraction=0.4, linear_activation="silu")
    sites = {site.name: site.activation for site in activation_sites(model)}
    assert sites == {
        f"stages-{stage}-{index}-act{end}": activation
        for stage, depth in enumerate((2, 1, 2))
        for index in range(depth)
        for end, activation in (("", "gelu"), ("-psi", "silu"))
    }
    swapped = replace_activations(model, dict.fromkeys(sites, "relu"))
    assert {site.activation for site in activation_sites(swapped)} == {"relu"}
    assert {site.activation for site in activation_sites(ConvNeXt(**SMALL, activation="hard_swish"))} == {"hard_swish"}


@pytest.mark.parametrize("options", [OPTIONS["C"], OPTIONS["not restructured"]])
def test_files(options, tmp_path):
    model = shaken(ConvNeXt(**SMALL, **options, drop_path=0.1))
    model.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    images = pixels(2, 37, 46, 3)
    np.testing.assert_array_equal(outputs(again, images), outputs(model, images))


@pytest.mark.parametrize("name", ["plain", "not restructured", "C"])
def test_tflite(name, tmp_path):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    model = shaken(ConvNeXt(**SMALL, **OPTIONS[name], drop_path=0.1, batch_size=1))
    to_tflite(model, tmp_path / "net.tflite")
    interpreter = litert.Interpreter(str(tmp_path / "net.tflite"))
    interpreter.allocate_tensors()
    images = pixels(1, 37, 46, 3)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    expected = outputs(model, images)
    received = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(received, expected, atol=1e-4 * np.abs(expected).max())
    ops = collections.Counter(op["op_name"] for op in interpreter._get_ops_details())
    kinds = collections.Counter(type(layer) for layer in model.layers)
    assert ops["CONV_2D"] == kinds[keras.layers.Conv2D] and ops["GELU"] == 5
    if name == "plain":  # Layer scale went into the convolutions: only normalizations multiply.
        assert ops["MUL"] <= 3 * kinds[keras.layers.LayerNormalization]
    if name == "C":
        assert ops["EXP"] == kinds[ExponentialKernel] == 5


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = ConvNeXt(**SMALL, **OPTIONS["C"])
    finally:
        keras.config.set_dtype_policy("float32")
    full = shaken(ConvNeXt(**SMALL, **OPTIONS["C"]))
    half.set_weights(full.get_weights())
    images = pixels(2, 37, 46, 3)
    expected = outputs(full, images)
    np.testing.assert_allclose(outputs(half, images).astype("float32"), expected, atol=0.02 * np.abs(expected).max())


def test_training_steps():
    model = ConvNeXt((7, 9), (1, 1), input_shape=(16, 16, 3), drop_path=0.2, layer_scale=0.1, **OPTIONS["C"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss, jit_compile=False)
    images, labels = pixels(16, 16, 16, 3), np.arange(16) % 7
    losses = model.fit(images, labels, batch_size=8, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"widths": (8, 16), "depths": (1, 1, 1)}, "as many widths as depths"),
        ({"widths": (8, 0, 8)}, "Expected widths to be integers of at least 1"),
        ({"widths": "big"}, "Received: ('b', 'i', 'g')"),
        ({"depths": (1, 2.5, 1)}, "Expected depths"),
        ({"expansion": 0}, "Expected expansion"),
        ({"expansion": float("nan")}, "Received: nan"),
        ({"linear_fraction": 1}, "Expected linear_fraction"),
        ({"linear_activation": "gelu"}, "no linear branch"),
        ({"linear_fraction": 0.4, "linear_activation": "gelu", "restructured": False}, "no linear branch"),
        ({"linear_fraction": 0.4, "linear_activation": "gellu"}, "Did you mean 'gelu'"),
        ({"activation": "gellu"}, "Did you mean 'gelu'"),
        ({"activation": "prelu", "linear_fraction": 0.4, "restructured": False}, "without weights"),
        ({"layer_scale": "small"}, "Expected layer_scale"),
        ({"input_shape": (15, 64, 3)}, "at least (16, 16, 1) for 3 stages"),
        ({"input_shape": (64, 64)}, "(height, width, channels)"),
        ({"input_shape": (None, None, 3)}, "Expected input_shape"),
        ({"num_classes": 0}, "Expected num_classes"),
        ({"drop_path": 1.0}, "Expected drop_path"),
        ({"drop_path": None}, "Expected drop_path"),
        ({"batch_size": 0}, "Expected batch_size"),
    ],
)
def test_what_it_refuses(options, words):
    with pytest.raises(InputError, match="Expected.+Received: ") as caught:
        ConvNeXt(**{**SMALL, **options})
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["Tiny", "large", "", None, 1])
def test_unknown_sizes(name):
    with pytest.raises(InputError, match="size of a RAN-i network. Received: .+tiny"):
        RANI(name)
