"""The layers in files: .keras, weights, configurations, SavedModel and TFLite; names that never change."""

import keras
import numpy as np
import pytest

from keras_actnas import layers
from keras_actnas.layers import (
    ACONC,
    ExponentialKernel,
    LayerScale,
    MetaACON,
    PartialActivation,
    StochasticPEA,
    WeightedPEA,
)

only_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs the TensorFlow backend")
SHAPE = (4, 4, 4)
NAMES = ("ACONA", "ACONB", "ACONC", "MetaACON", "StochasticPEA", "WeightedPEA")


@pytest.fixture
def image():
    return np.random.default_rng(1).normal(size=(1, *SHAPE)).astype("float32")


@pytest.fixture
def model_of(randomize):
    """A function: layers -> model with random weights in which they follow one another."""

    def build(*chain):
        model = keras.Sequential([keras.Input(SHAPE), *chain])
        for layer in model.layers:
            randomize(layer)
            if hasattr(layer, "alpha"):
                layer.alpha = 0.6  # Not the one of the constructor.
        return model

    return build


def test_keras_files(make_layer, model_of, image, numpy, tmp_path):
    model = model_of(make_layer(name="act"))
    model.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    assert type(again.layers[0]) is type(model.layers[0])
    assert again.layers[0].get_config() == model.layers[0].get_config()
    np.testing.assert_array_equal(numpy(again(image)), numpy(model(image)))


def test_files_of_weights(make_layer, model_of, image, numpy, tmp_path):
    model, other = model_of(make_layer()), keras.Sequential([keras.Input(SHAPE), make_layer()])
    assert not model.weights or not np.array_equal(numpy(other(image)), numpy(model(image)))
    model.save_weights(tmp_path / "net.weights.h5")
    other.load_weights(tmp_path / "net.weights.h5")
    np.testing.assert_array_equal(numpy(other(image)), numpy(model(image)))


def test_clones(make_layer, model_of, image, numpy):
    model = model_of(make_layer())
    clone = keras.models.clone_model(model)
    assert [weight.shape for weight in clone.weights] == [weight.shape for weight in model.weights]
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(numpy(clone(image)), numpy(model(image)))


def test_configurations(make_layer):
    layer = make_layer(name="act", trainable=False, dtype="mixed_bfloat16")
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.name, again.trainable, again.dtype_policy.name) == ("act", False, "mixed_bfloat16")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (
            ACONC,
            {
                "p1_initializer": "ones",
                "p2_initializer": keras.initializers.RandomUniform(-1, 1, seed=3),
                "beta_initializer": keras.initializers.Constant(2.0),
                "p1_regularizer": "l1",
                "p2_regularizer": keras.regularizers.L2(0.5),
                "beta_constraint": "non_neg",
                "shared_axes": [1, 3],
                "data_format": "channels_first",
            },
        ),
        (MetaACON, {"reduction": 8, "granularity": "layer", "p2_constraint": "non_neg", "p1_regularizer": "l2"}),
        (WeightedPEA, {"activation": "leaky_relu(0.3)", "alpha": 0.7}),
        (StochasticPEA, {"activation": "mish", "alpha": 0.7, "seed": 9}),
        (ExponentialKernel, {"threshold": 2.5}),
        (PartialActivation, {"activation": "mish", "linear_fraction": 0.25, "data_format": "channels_first"}),
        (LayerScale, {"initial": 0.25, "shared_axes": [1], "data_format": "channels_first"}),
    ],
)
def test_every_option_comes_back(kind, options):
    layer = kind(**options)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    config = again.get_config()
    assert config == layer.get_config()
    for name, value in options.items():
        if isinstance(value, (list, int, float)) or name in ("granularity", "data_format", "activation"):
            assert config[name] == value
        else:
            assert config[name] is not None


def test_the_initial_numbers_survive_a_copy(numpy):
    layer = ACONC(p1_initializer=keras.initializers.RandomNormal(0, 1, seed=3))
    again = ACONC.from_config(layer.get_config())
    for one in (layer, again):
        one.build((None, 4))
    np.testing.assert_array_equal(numpy(layer.p1), numpy(again.p1))


@pytest.mark.parametrize("name", NAMES)
def test_registered_names(name):
    kind = getattr(layers, name)
    assert keras.saving.get_registered_name(kind) == f"keras_actnas>{name}"
    assert keras.saving.get_registered_object(f"keras_actnas>{name}") is kind


def test_a_file_of_the_first_version(numpy, request):
    folder = request.path.parent / "data"
    assert (folder / "frozen.keras").stat().st_size < 60_000
    model = keras.models.load_model(folder / "frozen.keras")
    with np.load(folder / "frozen.npz") as arrays:
        assert np.std(arrays["output"]) > 0.1
        np.testing.assert_allclose(numpy(model(arrays["image"])), arrays["output"], atol=1e-5)
    assert float(model.get_layer("weighted").alpha) == 0.25
    assert float(model.get_layer("stochastic").alpha) == 0.75
    assert {type(layer).__name__ for layer in model.layers} >= set(NAMES)
    assert isinstance(model.get_layer("conv").activation, ACONC)


@only_tensorflow
def test_saved_models(make_every, model_of, tmp_path):
    import tensorflow as tf

    model = model_of(*make_every())
    images = np.random.default_rng(1).normal(size=(3, *SHAPE)).astype("float32")
    model.export(tmp_path / "saved", verbose=False)
    saved = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(saved.serve(images), model(images), atol=1e-5)


@only_tensorflow
def test_tflite(make_layer, model_of, image, tmp_path):
    from keras_actnas.export import to_tflite

    litert = pytest.importorskip("ai_edge_litert.interpreter")
    model = model_of(make_layer())
    to_tflite(model, tmp_path / "net.tflite")
    interpreter = litert.Interpreter(str(tmp_path / "net.tflite"))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(output, model(image), atol=1e-5)
