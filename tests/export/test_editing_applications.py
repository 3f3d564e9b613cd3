"""Networks of keras.applications: editing equals converting, from editable files and from any others."""

import keras
import numpy as np
import pytest

from keras_actnas.core import Assignment
from keras_actnas.export import TFLiteNetwork, to_editable, to_tflite
from keras_actnas.surgery import current_assignment, replace_activations

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.slow

NETWORKS = {"MobileNetV2": 35, "MobileNetV3Small": 33, "EfficientNetB0": 49, "ResNet50V2": 49}
ACTIVATIONS = ("relu", "relu6", "silu", "hard_swish", "leaky_relu", "gelu", "elu")
SIZE = 64


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")


def wake(model, images):
    """Gives BatchNorms the statistics of two images, so that signals live, and gains that keep them small."""
    random = np.random.default_rng(1)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
        layer.gamma.assign(random.uniform(0.2, 0.6, layer.gamma.shape))
        layer.beta.assign(random.uniform(-1, 1, layer.beta.shape))
    model(images, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        # A channel that hardly varies in two images would be blown up once others come.
        layer.moving_variance.assign(np.maximum(layer.moving_variance, np.mean(layer.moving_variance)))
    return model


@pytest.fixture(scope="module", params=NETWORKS)
def case(request, images, tmp_path_factory):
    """The model, its editable file and its plainly converted file."""
    keras.utils.set_random_seed(0)
    arguments = {"weights": None, "classes": 10, "classifier_activation": None}
    model = wake(getattr(keras.applications, request.param)(input_shape=(SIZE, SIZE, 3), **arguments), images)
    folder = tmp_path_factory.mktemp(request.param)
    to_editable(model, folder / "editable.tflite")
    to_tflite(model, folder / "plain.tflite")
    return request.param, model, TFLiteNetwork(folder / "editable.tflite"), TFLiteNetwork(folder / "plain.tflite")


def test_sites(case):
    name, model, editable, plain = case
    assert len(editable.sites) == NETWORKS[name]
    assert dict(editable.reference) == dict(current_assignment(model))
    # MobileNetV3's hard sigmoids are found to be gates.
    assert plain.reference.counts() == editable.reference.counts()


def test_graphs_equal_converted_ones(case, operators, tmp_path):
    _, model, editable, plain = case
    assert operators(editable.edit({})) == operators(plain.edit({}))
    random = np.random.default_rng(2)
    sites = editable.reference
    mixture = {site: str(random.choice(ACTIVATIONS)) for site in sites}
    for assignment in (Assignment.uniform(sites, "relu"), Assignment.uniform(sites, "hard_swish"), mixture):
        to_tflite(replace_activations(model, assignment), tmp_path / "m.tflite")
        assert operators(editable.edit(assignment)) == operators((tmp_path / "m.tflite").read_bytes())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_numbers_equal_keras(activation, case, images, run):
    _, model, editable, plain = case
    uniform = Assignment.uniform(editable.reference, activation)
    expected = np.asarray(replace_activations(model, uniform)(images[:1]))
    assert 0.03 < np.std(expected) < 100
    if activation not in ("relu", "relu6") and uniform != editable.reference:  # Those two often agree.
        assert np.abs(expected - np.asarray(model(images[:1]))).max() > 1e-2
    tolerance = 1e-4 * max(1, np.std(expected))
    for network in (editable, plain):
        (output,) = run(network.edit(Assignment.uniform(network.reference, activation)), images[:1])
        print(f"largest difference {np.abs(output - expected).max():.1e}, standard deviation {np.std(expected):.2f}")
        np.testing.assert_allclose(output, expected, rtol=0, atol=tolerance)
