"""YOLOv5n, every site and activation: the edited .tflite computes what the Keras model computes."""

import numpy as np
import pytest

from keras_actnas.core import Assignment
from keras_actnas.export import TFLiteNetwork, to_editable, to_tflite
from keras_actnas.models import YOLO
from keras_actnas.search.switchable import SwitchableNetwork
from keras_actnas.surgery import replace_activations

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.slow

ACTIVATIONS = ("relu", "relu6", "hard_swish", "leaky_relu", "gelu", "elu")
SIZE = 64


@pytest.fixture(scope="module")
def model(wake):
    return wake(YOLO("yolov5n", input_shape=(SIZE, SIZE, 3), num_classes=20), gain=1.15)


@pytest.fixture(scope="module")
def network(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("yolo") / "yolov5n.tflite"
    to_editable(model, path)
    return TFLiteNetwork(path)


@pytest.fixture(scope="module")
def switchable(model):
    """Returns a function: assignment -> the Keras model's outputs."""
    import tensorflow as tf

    switches = SwitchableNetwork(model, ["silu", *ACTIVATIONS], batch_size=1)
    compiled = tf.function(switches.model, jit_compile=False)

    def outputs(assignment, image):
        switches.assign(assignment)
        return [np.asarray(output) for output in compiled(image)]

    return outputs


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).uniform(0, 1, (1, SIZE, SIZE, 3)).astype("float32")


def difference(received, expected):
    """Returns the largest absolute difference of outputs that a runtime may return in another order."""
    by_shape = {output.shape: output for output in received}
    assert len(by_shape) == len(expected) == 3
    return max(float(np.abs(by_shape[output.shape] - output).max()) for output in expected)


def test_the_signal_is_alive(switchable, photo):
    assert all(0.3 < output.std() < 10 for output in switchable({}, photo))


def check_swaps(swaps, network, switchable, run, photo):
    largest, smallest_effect = 0.0, np.inf
    reference = switchable({}, photo)
    for swap in swaps:
        expected = switchable(swap, photo)
        largest = max(largest, difference(run(network.edit(swap), photo), expected))
        smallest_effect = min(smallest_effect, difference(expected, reference))
    print(f"{len(swaps)} networks: largest difference {largest:.2e}, smallest effect of a swap {smallest_effect:.2e}")
    assert largest < 1e-4
    # Else a swap that was not made would go unnoticed.
    assert smallest_effect > 1e-2


def test_every_single_swap(network, switchable, run, photo):
    swaps = [{site: name} for site in network.reference for name in ACTIVATIONS]
    assert len(swaps) == 69 * 6
    check_swaps(swaps, network, switchable, run, photo)


def mixture(sites, seed):
    random = np.random.default_rng(seed)
    return {site: str(random.choice(["silu", *ACTIVATIONS])) for site in sites}


def test_mixtures(network, switchable, run, photo):
    swaps = [mixture(network.reference, seed) for seed in range(5)]
    check_swaps(swaps, network, switchable, run, photo)


@pytest.mark.parametrize("number", range(8))
def test_editing_equals_converting(number, network, model, operators, run, photo, tmp_path):
    sites = list(network.reference)
    random = np.random.default_rng(11)
    swapped = [str(site) for site in random.choice(sites, len(ACTIVATIONS), replace=False)]
    assignments = [{site: name} for site, name in zip(swapped, ACTIVATIONS, strict=True)]
    assignments += [mixture(sites, 100), dict(Assignment.uniform(sites, "relu"))]
    to_tflite(replace_activations(model, assignments[number]), tmp_path / "m.tflite")
    edited, converted = network.edit(assignments[number]), (tmp_path / "m.tflite").read_bytes()
    assert operators(edited) == operators(converted)
    assert difference(run(edited, photo), run(converted, photo)) < 1e-4


def test_int8_editing_equals_converting(model, operators, tmp_path):
    images = np.random.default_rng(1).uniform(0, 1, (8, SIZE, SIZE, 3)).astype("float32")
    to_editable(model, tmp_path / "editable.tflite", "int8", images)
    network = TFLiteNetwork(tmp_path / "editable.tflite")
    assert dict(network.reference) == dict.fromkeys(network.reference, "silu")
    for activation in ("relu", "relu6", "hard_swish", "leaky_relu"):
        uniform = Assignment.uniform(network.reference, activation)
        report = to_tflite(replace_activations(model, uniform), tmp_path / "m.tflite", "int8", images)
        assert report.warnings == ()
        difference = operators(network.edit(uniform))
        difference.subtract(operators((tmp_path / "m.tflite").read_bytes()))
        # Where ranges meet, the converter rescales, unless they are equal: two of ReLU6 often are, up to 6.
        assert abs(difference.pop(("QUANTIZE", 0, 1), 0)) <= (2 if activation == "relu6" else 0)
        assert not any(difference.values())
