import keras
import numpy as np
import pytest
from PIL import Image

from keras_actnas import cli

SIZE = 32


def tiny_model():
    """Four sites on 32 x 32 images."""
    inputs = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(inputs)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    x = keras.layers.Activation("silu", name="stem_act")(x)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="argument")(x)
    shared = keras.layers.ReLU(max_value=6, name="shared_act")
    x = shared(keras.layers.Conv2D(8, 3, padding="same", name="first")(x))
    x = shared(keras.layers.Conv2D(8, 3, strides=2, padding="same", name="second")(x))
    x = keras.layers.Conv2D(8, 1, activation="silu", name="last")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(4, activation="softmax", name="head")(x), name="tiny")


FAST = ("--networks=12", "--runs=2", "--seeds=2", "--batch_size=6", "--top_k=2", "--constraint=nwot>=reference-50")


@pytest.fixture(scope="session")
def fast():
    """Flags that make a search take seconds."""
    return FAST


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The .keras file of a small network."""
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("models") / "tiny.keras"
    tiny_model().save(path)
    return path


@pytest.fixture(scope="session")
def tiny_tflite(tiny, tmp_path_factory):
    """The same as .tflite, with named sites."""
    path = tmp_path_factory.mktemp("tflites") / "tiny.tflite"
    assert cli.main(["convert", f"--model={tiny}", f"--out={path}"]) == 0
    return path


@pytest.fixture(scope="session")
def run_folder(tiny, tmp_path_factory):
    """The run folder of a whole search of that network."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    assert cli.main(["search", f"--model={tiny}", f"--out={path}", *FAST]) == 0
    return path


@pytest.fixture
def photos(tmp_path):
    """A folder of photographs."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def refuses(capsys, monkeypatch, tmp_path):
    """Runs a command that must fail with status 2 and one line on stderr; returns that line."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capsys.readouterr()
        assert cli.main([str(argument) for argument in arguments]) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.strip() and "network/s]" not in line]
        assert len(lines) == 1, lines
        assert lines[0].startswith(f"keras-actnas {arguments[0]}: ")
        return lines[0]

    return run
