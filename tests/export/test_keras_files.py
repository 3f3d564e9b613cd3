"""`.keras` files are written whole or not at all."""

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.export.keras_files import save_keras


@pytest.fixture
def model():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="relu")])


def test_what_is_saved_is_loaded(model, tmp_path):
    save_keras(model, tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    values = np.ones((1, 4), "float32")
    np.testing.assert_array_equal(np.asarray(loaded(values)), np.asarray(model(values)))
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]


def test_a_file_that_is_there_is_replaced(model, tmp_path):
    (tmp_path / "m.keras").write_text("old")
    save_keras(model, tmp_path / "m.keras")
    assert keras.models.load_model(tmp_path / "m.keras").count_params() == 10


def test_a_place_that_cannot_be_written(model, tmp_path):
    with pytest.raises(InputError, match="Expected a place that can be written. Received: .*missing.m.keras"):
        save_keras(model, tmp_path / "missing" / "m.keras")
    (tmp_path / "m.keras").mkdir()
    with pytest.raises(InputError, match="Expected a place that can be written"):
        save_keras(model, tmp_path / "m.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]


def test_a_failure_leaves_what_was_there(model, tmp_path, monkeypatch):
    (tmp_path / "m.keras").write_text("old")

    def fail(path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model, "save", fail)
    with pytest.raises(InputError, match="No space left on device"):
        save_keras(model, tmp_path / "m.keras")
    assert (tmp_path / "m.keras").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]
