"""The classic classifiers: their published sizes, what they are made of, and what they become in TFLite."""

import doctest

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.export import to_tflite
from keras_actnas.models import EfficientNetLiteB0, RepVGGA0, ResNet18, efficientnet_lite, repvgg, resnet
from keras_actnas.search import count_macs
from keras_actnas.surgery import activation_sites
from keras_actnas.tflite_bench import TFLiteRunner

NETWORKS = (EfficientNetLiteB0, ResNet18, RepVGGA0)
SMALL = {"input_shape": (64, 64, 3), "num_classes": 10}


@pytest.mark.parametrize(
    ("build", "parameters", "trainable", "macs"),
    [
        # What the paper prints in tables 1 and 2, in millions: (4.7, 385), (11.7, 1800), (8.3, 1400). Its 385 M are
        # those with the classifier; its own networks it counts without.
        (EfficientNetLiteB0, 4_694_024, 4_652_008, 385_187_552),
        (ResNet18, 11_699_112, 11_689_512, 1_814_073_344),
        (RepVGGA0, 8_309_384, 8_309_384, 1_361_451_008),
    ],
)
def test_published_sizes(build, parameters, trainable, macs):
    count = count_macs(build("hard_swish"))
    assert (count.parameters, count.trainable_parameters, count.macs) == (parameters, trainable, macs)


def conv_macs(size, inputs, outputs, kernel=3):
    return size * size * inputs * outputs * kernel * kernel


def test_resnet_18_by_hand():
    expected = conv_macs(112, 3, 64, 7) + 4 * conv_macs(56, 64, 64) + 512 * 1000
    for size, width in ((28, 128), (14, 256), (7, 512)):
        expected += conv_macs(size, width // 2, width) + 3 * conv_macs(size, width, width)
        expected += conv_macs(size, width // 2, width, 1)
    assert count_macs(ResNet18()).macs == expected


def test_repvgg_a0_by_hand():
    widths = [3, 48, 48, 48, *[96] * 4, *[192] * 14, 1280]
    sizes = [112, 56, 56, *[28] * 4, *[14] * 14, 7]
    expected = sum(conv_macs(*layer) for layer in zip(sizes, widths, widths[1:], strict=False))
    assert count_macs(RepVGGA0()).macs == expected + 1280 * 1000


def test_efficientnet_lite_is_efficientnet_without_squeeze_and_excitation():
    def kernels(model):
        return {
            layer.name: (layer.kernel.shape, tuple(layer.strides))
            for layer in model.layers
            if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)) and "_se_" not in layer.name
        }

    lite = EfficientNetLiteB0()
    assert kernels(lite) == kernels(keras.applications.EfficientNetB0(weights=None))
    names = {layer.name for layer in keras.applications.EfficientNetB0(weights=None).layers}
    assert {site.name for site in activation_sites(lite)} <= names


@pytest.mark.parametrize("build", NETWORKS)
def test_a_forward_pass(build):
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).uniform(0, 1, (2, 64, 64, 3)).astype("float32")
    model = build(**SMALL, batch_size=2)
    outputs = np.asarray(model(images))
    assert outputs.shape == (2, 10)
    np.testing.assert_allclose(outputs.sum(axis=-1), 1, rtol=1e-5)
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-4, "the images make no difference"
    logits = build(**SMALL, classifier_activation=None)
    logits.set_weights(model.get_weights())
    np.testing.assert_allclose(np.asarray(keras.ops.softmax(logits(images))), outputs, rtol=1e-4, atol=1e-6)
    assert tuple(model.inputs[0].shape) == (2, 64, 64, 3)
    assert tuple(logits.inputs[0].shape) == (None, 64, 64, 3)


@pytest.mark.parametrize(
    ("build", "number", "first", "last"),
    [
        (EfficientNetLiteB0, 33, "stem_activation", "top_activation"),
        (ResNet18, 17, "act", "layer4-1-act2"),
        (RepVGGA0, 22, "stage0-0-act", "stage4-0-act"),
    ],
)
def test_every_activation_is_a_site(build, number, first, last):
    model = build("leakyrelu", **SMALL)
    sites = activation_sites(model)
    assert {site.activation for site in sites} == {"leaky_relu"}
    assert (len(sites), sites[0].name, sites[-1].name) == (number, first, last)
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)


def test_the_default_activations():
    kinds = [{site.activation for site in activation_sites(build(**SMALL))} for build in NETWORKS]
    assert kinds == [{"relu6"}, {"relu"}, {"relu"}]


@pytest.mark.parametrize(("build", "name"), [(ResNet18, "conv1"), (RepVGGA0, "stage0-0-conv")])
def test_strided_convolutions_pad_both_sides_alike(build, name):
    model = build(**SMALL)
    layer = model.get_layer(name)
    layer.set_weights(
        [np.ones(weight.shape) if weight.name == "kernel" else np.zeros(weight.shape) for weight in layer.weights]
    )
    outputs = np.asarray(keras.Model(model.inputs[0], layer.output)(np.ones((1, 64, 64, 3), "float32")))
    half = layer.kernel_size[0] // 2 + 1
    assert outputs[0, 0, 0, 0] == 3 * half**2
    assert outputs[0, 5, 5, 0] == 3 * layer.kernel_size[0] ** 2
    assert outputs.shape[1:3] == (32, 32)


@pytest.mark.parametrize(
    ("build", "operators"),
    [
        (EfficientNetLiteB0, {"CONV_2D": 33, "DEPTHWISE_CONV_2D": 16, "ADD": 9}),
        (ResNet18, {"CONV_2D": 20, "ADD": 8, "MAX_POOL_2D": 1}),
        (RepVGGA0, {"CONV_2D": 22}),
    ],
)
def test_tflite(build, operators, tmp_path):
    keras.utils.set_random_seed(0)
    model = build(**SMALL)
    report = to_tflite(model, tmp_path / "network.tflite")
    others = {"MEAN", "FULLY_CONNECTED", "SOFTMAX", "PAD", "PADV2"}
    assert {name: count for name, count in report.operators.items() if name not in others} == operators
    assert not report.warnings
    assert count_macs(tmp_path / "network.tflite").macs == count_macs(model).macs
    runner = TFLiteRunner(tmp_path / "network.tflite", seed=0)
    runner.run()
    image = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    np.testing.assert_allclose(runner.outputs()[0], np.asarray(model(image)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("build", NETWORKS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (64, 64)}, r"Expected `input_shape` as \(height, width, channels\).*Received: \(64, 64\)"),
        ({"input_shape": (None, None, 3)}, r"Expected `input_shape`.*Received: \(None, None, 3\)"),
        ({"num_classes": 0}, r"Expected `num_classes` to be an integer of at least 1\. Received: 0"),
        ({"batch_size": 0}, r"Expected `batch_size`.*Received: 0"),
        ({"activation": "relux"}, r"Received: 'relux'.*Did you mean 'relu"),
    ],
)
def test_bad_arguments(build, arguments, message):
    with pytest.raises(InputError, match=message):
        build(**{**SMALL, **arguments})


@pytest.mark.parametrize("module", [efficientnet_lite, resnet, repvgg])
def test_the_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
