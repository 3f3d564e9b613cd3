import contextlib
import os

import keras
import pytest

from keras_actnas.core import Journal
from keras_actnas.export import TFLiteNetwork, to_editable

from .arm_machine import arm_machine as make_arm_machine
from .machinery import UnavailableError
from .old_runtime import old_runtime as make_old_runtime
from .ssh_server import SSHServer


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


@contextlib.contextmanager
def _or_skip():
    """Skips a test for which a machine cannot be made here; on a computer that has to have them all, the test fails."""
    try:
        yield
    except UnavailableError as error:
        (pytest.fail if os.environ.get("KERAS_ACTNAS_TEST_MACHINES") == "all" else pytest.skip)(str(error))


@pytest.fixture(scope="session")
def arm_machine():
    """An emulated Raspberry Pi; see `arm_machine.ArmMachine`."""
    with _or_skip():
        return make_arm_machine()


@pytest.fixture(scope="session")
def old_runtime():
    """The path of a Python of this computer with tflite_runtime 2.14 and NumPy 1.26."""
    with _or_skip():
        return make_old_runtime()


@pytest.fixture
def ssh_server(tmp_path):
    """A running OpenSSH server on the loopback address; see `ssh_server.SSHServer`."""
    with _or_skip():
        server = SSHServer(tmp_path / "ssh")
    with server:
        yield server
