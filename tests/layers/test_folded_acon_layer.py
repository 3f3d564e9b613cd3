"""FoldedACON: its equation in both forms, its file, and what it refuses."""

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.layers import FoldedACON

SUBSETS = [(), ("slope",), ("scale",), ("shift",), ("scale", "shift"), ("slope", "shift"), ("slope", "scale", "shift")]


def fill(layer, channels):
    """Gives a layer random factors; returns all three, those that it has not at their neutral values."""
    if not layer.built:
        layer.build((None, 4, 5, channels))
    random = np.random.default_rng(0)
    factors = {"slope": np.ones(channels), "scale": np.ones(channels), "shift": np.zeros(channels)}
    for name in layer.factors:
        factors[name] = random.normal(size=channels)
        getattr(layer, name).assign(factors[name].reshape(1, 1, channels))
    return factors


@pytest.mark.parametrize("form", ["multiply", "depthwise"])
@pytest.mark.parametrize("subset", SUBSETS)
def test_the_equation(subset, form, numpy):
    layer = FoldedACON(subset, form)
    own = fill(layer, 6)
    y = np.random.default_rng(1).normal(size=(2, 4, 5, 6))
    expected = y * (own["scale"] / (1 + np.exp(-own["slope"] * y)) + own["shift"])
    np.testing.assert_allclose(numpy(layer(y.astype("float32"))), expected, atol=1e-5)


def test_the_file(tmp_path):
    layer = FoldedACON(("shift", "scale"), "depthwise", name="act")
    model = keras.Sequential([keras.Input((4, 5, 6)), layer])
    fill(layer, 6)
    x = np.ones((1, 4, 5, 6), "float32")
    model.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert keras.saving.get_registered_name(FoldedACON) == "keras_actnas>FoldedACON"
    config = again.get_layer("act").get_config()
    assert (config["factors"], config["form"]) == (["scale", "shift"], "depthwise")


def test_what_it_refuses():
    with pytest.raises(InputError, match="Expected factors among slope, scale, shift. Received: 'scale'"):
        FoldedACON("scale")
    with pytest.raises(InputError, match=r"Received: \('offset',\)"):
        FoldedACON(("offset",))
    with pytest.raises(InputError, match="Expected form .* Received: 'add'"):
        FoldedACON(form="add")
    with pytest.raises(InputError, match=r"Expected images \(4-D inputs\) .* Received: inputs of shape \(None, 4\)"):
        FoldedACON(form="depthwise").build((None, 4))
