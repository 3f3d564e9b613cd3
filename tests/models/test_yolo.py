"""`YOLO`: its arguments, its outputs, and that its files stand alone."""

import math
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from keras_actnas.core import KNOWN, Assignment, InputError, canonical_name
from keras_actnas.models import YOLO

SMALL = (64, 96, 3)
numpy = keras.ops.convert_to_numpy

# Keras's own reading of variables, in `convert_to_numpy` and `model.save`.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def model(fill):
    return fill(YOLO("yolov8n", input_shape=SMALL, activations="hard_swish"))


@pytest.fixture(scope="module")
def decoder(fill):
    return fill(YOLO("yolov8n", input_shape=SMALL, activations="hard_swish", decode=True))


def test_raw_outputs(model):
    assert model.name == "yolov8n"
    assert [tuple(output.shape) for output in model.outputs] == [
        (None, 8, 12, 144),
        (None, 4, 6, 144),
        (None, 2, 3, 144),
    ]


def test_arguments_shape_the_model():
    model = YOLO("YOLOv5n", num_classes=3, input_shape=[32, 64, 1], batch_size=2, decode=True)
    assert tuple(model.inputs[0].shape) == (2, 32, 64, 1)
    assert tuple(model.outputs[0].shape) == (2, (4 * 8 + 2 * 4 + 1 * 2), 4 + 3)


def test_decoding_follows_its_definition(model, decoder, images):
    expected = []
    for stride, values in zip((8, 16, 32), model(images(64, 96)), strict=True):
        values = np.asarray(values, "float64")[0]
        for y, x in np.ndindex(values.shape[:2]):
            logits = values[y, x, :64].reshape(4, 16)
            weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
            left, top, right, bottom = (weights @ np.arange(16)) / weights.sum(axis=-1)
            centre = [x + 0.5 + (right - left) / 2, y + 0.5 + (bottom - top) / 2]
            box = np.array([*centre, left + right, top + bottom]) * stride
            expected.append(np.concatenate([box, 1 / (1 + np.exp(-values[y, x, 64:]))]))
    np.testing.assert_allclose(np.asarray(decoder(images(64, 96)))[0], expected, rtol=1e-4, atol=1e-4)


def test_decoding_has_sixteen_fixed_weights(decoder):
    layer = decoder.get_layer("model-22-dfl-conv")
    assert not layer.trainable_weights
    assert np.ravel(layer.weights[0]).tolist() == list(range(16))


def test_a_plain_call_is_inference(model, images):
    # keras.layers.Resizing would turn training on for every layer behind it.
    before = [numpy(weight) for weight in model.non_trainable_weights]
    for plain, inference in zip(model(images(64, 96)), model(images(64, 96), training=False), strict=True):
        np.testing.assert_array_equal(plain, inference)
    for old, weight in zip(before, model.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(old, weight)


def test_activations_by_name_alias_and_site():
    everywhere = YOLO("yolov8n", input_shape=SMALL, activations="Swish")
    assert {layer.activation.__name__ for layer in activation_layers(everywhere)} == {"silu"}
    leaky = YOLO("yolov8n", input_shape=SMALL, activations="leakyrelu")
    slopes = [layer.negative_slope for layer in leaky.layers if isinstance(layer, keras.layers.LeakyReLU)]
    assert slopes == [pytest.approx(0.1)] * 57
    partial = YOLO(
        "yolov8n", input_shape=SMALL, activations={"model.2.m.0.cv1.act": "relu", "model.22.cv2.0.0.act": "none"}
    )
    assert partial.get_layer("model-2-m-0-cv1-act").activation.__name__ == "relu"
    assert partial.get_layer("model-22-cv2-0-0-act").activation.__name__ == "linear"
    assert partial.get_layer("model-2-m-0-cv2-act").activation.__name__ == "silu"


def activation_layers(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Activation)]


def test_every_known_activation_without_weights(golden):
    names = [name for name in KNOWN if name != "prelu"]
    sites = golden["yolov8n"]["sites"]
    cycle = {site: names[index % len(names)] for index, site in enumerate(sites)}
    model = YOLO("yolov8n", input_shape=SMALL, activations=Assignment(cycle))
    built = {
        site: "leaky_relu" if isinstance(layer, keras.layers.LeakyReLU) else canonical_name(layer.activation.__name__)
        for site in sites
        for layer in [model.get_layer(site.replace(".", "-"))]
    }
    assert built == cycle


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "yolov11n"}, r"Expected the name of a YOLO.*Received: 'yolov11n'.*Did you mean.*'yolo11n'"),
        ({"name": 5}, r"Expected the name of a YOLO.*Received: 5\."),
        ({"input_shape": (100, 64, 3)}, r"multiples of 32.*Received: \(100, 64, 3\)"),
        ({"input_shape": (3, 64, 64)}, r"multiples of 32.*Received: \(3, 64, 64\)"),
        ({"input_shape": (64, 64)}, r"Expected `input_shape` as \(height, width, channels\).*Received: \(64, 64\)"),
        ({"input_shape": (None, None, 3)}, r"Expected `input_shape`.*Received: \(None, None, 3\)"),
        ({"input_shape": 640}, r"Expected `input_shape`.*Received: 640"),
        ({"num_classes": 0}, r"Expected `num_classes` to be an integer of at least 1\. Received: 0"),
        ({"num_classes": 2.5}, r"Expected `num_classes`.*Received: 2\.5"),
        ({"batch_size": 0}, r"Expected `batch_size`.*Received: 0"),
        ({"activations": "relux"}, r"Received: 'relux'.*Did you mean 'relu"),
        ({"activations": 3}, r"Expected an activation's name or a mapping.*Received: 3"),
        (
            {"activations": {"model.99.act": "relu"}},
            r"Expected sites of this model, which has 57\. Received: 'model.99",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        YOLO(**{"name": "yolov8n", "input_shape": (64, 64, 3), **arguments})


def test_initialization_is_that_of_torch_and_follows_the_seed():
    def build():
        keras.backend.clear_session()
        keras.utils.set_random_seed(7)
        return YOLO("yolo11n", num_classes=10, input_shape=(64, 64, 3))

    model, again = build(), build()
    for weight, same in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(weight, same)
    stem = numpy(model.get_layer("model-0-conv").kernel)
    depthwise = numpy(model.get_layer("model-23-cv3-0-0-0-conv").kernel)
    assert 0.95 / math.sqrt(27) < np.abs(stem).max() <= 1 / math.sqrt(27)
    assert 0.95 / math.sqrt(9) < np.abs(depthwise).max() <= 1 / math.sqrt(9)
    first, second = (numpy(model.get_layer(f"model-23-cv2-{level}-1-conv").kernel) for level in (0, 1))
    assert not np.array_equal(first, second)
    for level, stride in enumerate((8, 16, 32)):
        box, scores = (model.get_layer(f"model-23-{branch}-{level}-2") for branch in ("cv2", "cv3"))
        np.testing.assert_array_equal(box.bias, np.ones(64, "float32"))
        np.testing.assert_allclose(scores.bias, np.full(10, math.log(5 / 10 / (640 / stride) ** 2)), rtol=1e-6)


def test_normalization(model):
    layer = model.get_layer("model-0-bn")
    assert (layer.epsilon, layer.momentum) == (1e-3, 0.97)


def test_gradients_reach_every_weight():
    model = YOLO("yolo11n", num_classes=2, input_shape=(64, 64, 3))
    before = [numpy(weight) for weight in model.trainable_weights]
    model.compile("sgd", loss=["mse"] * 3, run_eagerly=True)  # one step: tracing would cost more
    targets = [np.ones((2, 64 // stride, 64 // stride, 66), "float32") for stride in (8, 16, 32)]
    model.train_on_batch(np.random.default_rng(0).random((2, 64, 64, 3), "float32"), targets)
    still = [
        weight.path
        for old, weight in zip(before, model.trainable_weights, strict=True)
        if np.array_equal(old, numpy(weight))
    ]
    assert not still


def test_channels_last_whatever_the_configuration(model):
    keras.config.set_image_data_format("channels_first")
    try:
        built = YOLO("yolov8n", input_shape=SMALL)
    finally:
        keras.config.set_image_data_format("channels_last")
    assert [output.shape for output in built.outputs] == [output.shape for output in model.outputs]


def test_clone_keeps_the_function(decoder, images):
    clone = keras.models.clone_model(decoder)
    np.testing.assert_array_equal(np.ravel(clone.get_layer("model-22-dfl-conv").weights[0]), np.arange(16))
    clone.set_weights(decoder.get_weights())
    np.testing.assert_array_equal(clone(images(64, 96)), decoder(images(64, 96)))


@pytest.mark.parametrize("name", [pytest.param("yolov5n", marks=pytest.mark.slow), "yolo11n"])
def test_file_loads_without_this_package(name, fill, images, tmp_path):
    model = fill(YOLO(name, input_shape=SMALL, activations="leaky_relu", decode=True))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images(64, 96))
    script = """
        import sys, keras, numpy as np
        model = keras.models.load_model("model.keras")
        assert "keras_actnas" not in sys.modules
        np.save("outputs.npy", model(np.load("images.npy")))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), model(images(64, 96)), rtol=1e-5, atol=1e-4)
