import keras
import pytest

from keras_actnas.core import Journal
from keras_actnas.export import TFLiteNetwork, to_editable


def device_model():
    """Four sites on 32 x 32 images, SiLU at every one."""
    inputs = keras.Input((32, 32, 3), name="image")
    x = inputs
    for number, strides in enumerate((2, 1, 2, 1)):
        x = keras.layers.Conv2D(8, 3, strides, padding="same", name=f"conv{number}")(x)
        x = keras.layers.Activation("silu", name=f"act{number}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(4, name="head")(x), name="device_model")


@pytest.fixture(scope="session")
def network_file(tmp_path_factory):
    """The .tflite of a small network, with named sites."""
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("devices") / "net.tflite"
    to_editable(device_model(), path)
    return path


@pytest.fixture
def network(network_file):
    return TFLiteNetwork(network_file)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    yield journal
    journal.close()
