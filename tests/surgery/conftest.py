import keras
import numpy as np
import pytest

BUILDERS = {
    "MobileNetV3Small": keras.applications.MobileNetV3Small,
    "EfficientNetB0": keras.applications.EfficientNetB0,
    "ResNet50V2": keras.applications.ResNet50V2,
    "MobileNetV2": keras.applications.MobileNetV2,
}
SIZE = 64


def wake(model, images):
    """Gives an untrained network BatchNorm statistics under which its activations neither vanish nor stay within 6."""
    random = np.random.default_rng(1)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
        layer.gamma.assign(random.uniform(2, 4, layer.gamma.shape))
        layer.beta.assign(random.uniform(-1, 1, layer.beta.shape))
    model(images, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).uniform(0, 1, (2, SIZE, SIZE, 3)).astype("float32")


@pytest.fixture(scope="session")
def application(images):
    """Returns a function from the name of an application to the model, built once, and its outputs for `images`."""
    built = {}

    def get(name):
        if name not in built:
            keras.utils.set_random_seed(0)
            # Logits: the softmax of an untrained network is often 0 and 1 exactly, whatever the activations.
            arguments = {"weights": None, "classes": 10, "classifier_activation": None}
            model = BUILDERS[name](input_shape=(SIZE, SIZE, 3), **arguments)
            wake(model, images)
            built[name] = model, np.asarray(model(images))
        return built[name]

    return get


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)
