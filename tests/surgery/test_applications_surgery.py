"""Surgery on the networks of `keras.applications`."""

import keras
import numpy as np
import pytest

from keras_actnas import core, surgery

# Why so many:
# - MobileNetV3Small: hard-swish in the stem, twice in each of the blocks 3-10, in the last convolution and in the
#   head (19); ReLU once in block 0 (no expansion) and twice in blocks 1 and 2, and inside of the 9 squeeze-excites
#   (14). The 9 ReLU6 that are the squeeze-excites' hard sigmoids are gates.
# - EfficientNetB0: stem, top, and 16 blocks with a depthwise convolution, a squeeze-excite and (all but the first) an
#   expansion. The squeeze-excites' `activation=` arguments count, their sigmoids do not.
# - ResNet50V2: pre-activation and two inner ones in each of 16 blocks, and one behind the last. The stem has none.
# - MobileNetV2: stem, last convolution, and 17 blocks with a depthwise convolution and (all but the first) an
#   expansion.
COUNTS = {
    "MobileNetV3Small": {"hard_swish": 1 + 2 * 8 + 1 + 1, "relu": 1 + 2 * 2 + 9},
    "EfficientNetB0": {"silu": 1 + 16 + 16 + 15 + 1},
    "ResNet50V2": {"relu": 3 * 16 + 1},
    "MobileNetV2": {"relu6": 1 + 17 + 16 + 1},
}
NAMES = sorted(COUNTS)
QUICK = ["MobileNetV2", "MobileNetV3Small"]
MATRIX = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
# Keras 3.15 reads its own variables, when it saves them, in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
ACTIVATIONS = ["relu", "relu6", "silu", "hard_swish", "leaky_relu", "gelu"]


def run(model, images):
    return np.asarray(model(images))


def difference(outputs, reference):
    return np.abs(outputs - reference).max() / np.abs(reference).max()


def assert_same_weights(model, other):
    assert len(model.weights) == len(other.weights)
    for weight, copied in zip(model.weights, other.weights, strict=True):
        assert weight.path == copied.path
        np.testing.assert_array_equal(np.asarray(weight), np.asarray(copied))


@pytest.mark.parametrize("name", NAMES)
def test_an_application_has_these_sites(application, name):
    model, _ = application(name)
    sites = surgery.activation_sites(model)
    assert surgery.current_assignment(model).counts() == COUNTS[name]
    assert len({site.name for site in sites}) == len(sites)
    order = [layer.name for layer in model.layers]
    assert [site.name for site in sites] == sorted((site.name for site in sites), key=order.index)


def test_the_squeeze_excite_of_mobilenet_v3_keeps_its_gate(application):
    model, _ = application("MobileNetV3Small")
    names = {site.name for site in surgery.activation_sites(model)}
    gates = [layer for layer in model.layers if isinstance(layer, keras.layers.ReLU) and layer.max_value == 6]
    assert len(gates) == 9
    assert not names & {gate.name for gate in gates}
    assert len([name for name in names if name.endswith("squeeze_excite_relu")]) == 9


def test_efficientnet_keeps_its_sigmoid_gates_unless_asked(application):
    model, _ = application("EfficientNetB0")
    counts = surgery.current_assignment(model, include=("sigmoid",)).counts()
    assert counts == {"silu": 49, "sigmoid": 16}


@pytest.mark.parametrize("name", NAMES)
def test_replacing_every_activation_by_itself_changes_nothing(application, images, name):
    model, outputs = application(name)
    before = model.get_config()
    calls = [len(operation._inbound_nodes) for operation in model.operations]
    same = surgery.replace_activations(model, surgery.current_assignment(model))
    assert same is not model
    assert same.get_config() == before == model.get_config()
    assert calls == [len(operation._inbound_nodes) for operation in model.operations], "the original was called"
    assert not {id(layer) for layer in same.layers} & {id(layer) for layer in model.layers}
    assert_same_weights(model, same)
    np.testing.assert_array_equal(run(same, images), outputs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", MATRIX)
def test_every_activation_can_be_replaced(application, images, name, activation):
    model, outputs = application(name)
    reference = surgery.current_assignment(model)
    wanted = core.Assignment.uniform(reference, activation)
    swapped = surgery.replace_activations(model, wanted)
    assert dict(surgery.current_assignment(swapped)) == dict(wanted)
    assert [layer.name for layer in swapped.layers] == [layer.name for layer in model.layers]
    assert_same_weights(model, swapped)
    assert (difference(run(swapped, images), outputs) > 1e-3) == bool(wanted.swaps(reference))


@pytest.mark.parametrize("name", NAMES)
def test_replacing_there_and_back_restores_the_outputs(application, images, name):
    model, outputs = application(name)
    reference = surgery.current_assignment(model)
    cycle = core.Assignment((site, ACTIVATIONS[index % 6]) for index, site in enumerate(reference))
    there = surgery.replace_activations(model, cycle)
    back = surgery.replace_activations(there, reference)
    assert dict(surgery.current_assignment(there)) == dict(cycle)
    assert difference(run(there, images), outputs) > 1e-3
    np.testing.assert_array_equal(run(back, images), outputs)


@pytest.mark.parametrize("name", ["EfficientNetB0", "MobileNetV3Small"])
def test_separated_and_fixed_copies_compute_the_same(application, images, name):
    model, outputs = application(name)
    separate = surgery.separate_activations(model)
    assert len(surgery.activation_sites(separate)) == len(surgery.activation_sites(model))
    assert difference(run(separate, images), outputs) < 1e-5
    fixed = surgery.set_batch_size(model, len(images))
    assert fixed.output.shape == outputs.shape
    assert difference(run(fixed, images), outputs) < 1e-5


@pytest.mark.parametrize("name", ["EfficientNetB0", "MobileNetV3Small"])
def test_a_swapped_application_survives_saving(application, images, name, tmp_path):
    model, _ = application(name)
    reference = surgery.current_assignment(model)
    swapped = surgery.replace_activations(model, dict.fromkeys(list(reference)[::2], "leaky_relu"))
    swapped.save(tmp_path / "swapped.keras")
    loaded = keras.models.load_model(tmp_path / "swapped.keras")
    assert surgery.current_assignment(loaded) == surgery.current_assignment(swapped)
    assert difference(run(loaded, images), run(swapped, images)) < 1e-5
