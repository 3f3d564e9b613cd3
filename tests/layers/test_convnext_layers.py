"""The small layers of ConvNeXt's blocks: activations on a share of the channels, and layer scale."""

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.core.curves import curve
from keras_actnas.layers import ExponentialKernel, LayerScale, PartialActivation


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("channels", "fraction", "curved"),
    [(10, 0.4, 6), (8, 0.5, 4), (5, 0.5, 3), (384, 0.4, 230), (7, 0.0, 7), (2, 0.9, 1)],
)
def test_the_first_channels_have_the_activation(channels, fraction, curved, layout, numpy):
    x = images(2, 3, 4, channels)
    expected = np.concatenate([curve("gelu")(x[..., :curved].astype("float64")), x[..., curved:]], axis=-1)
    layer = PartialActivation("gelu", fraction, data_format=layout)
    given = x if layout == "channels_last" else np.moveaxis(x, -1, 1)
    output = numpy(layer(given))
    np.testing.assert_allclose(output if layout == "channels_last" else np.moveaxis(output, 1, -1), expected, atol=1e-5)
    assert layer.split(given.shape) == (curved, channels - curved)


def test_the_global_layout_is_the_default(channels_first):
    assert PartialActivation().split((None, 10, 4, 4)) == (6, 4)
    layer = LayerScale()
    layer.build((None, 10, 4, 4))
    assert tuple(layer.gamma.shape) == (10, 1, 1)


def test_layer_scale_multiplies_each_channel(numpy):
    layer = LayerScale()
    x = images(2, 3, 3, 4)
    np.testing.assert_allclose(numpy(layer(x)), 1e-6 * x, rtol=1e-6)
    layer.gamma.assign(np.arange(4.0).reshape(1, 1, 4))
    np.testing.assert_allclose(numpy(layer(x)), x * np.arange(4), rtol=1e-6)


def test_layer_scale_is_as_precise_in_float16_as_its_result(numpy):
    # As a float16 number, 1e-6 would be 0.95e-6.
    output = numpy(LayerScale(1e-6, dtype="mixed_float16")(np.full((1, 1), 1000, "float32")))
    np.testing.assert_allclose(output, 1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", [ExponentialKernel, LayerScale, PartialActivation])
def test_registered_names(kind):
    assert keras.saving.get_registered_name(kind) == f"keras_actnas>{kind.__name__}"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PartialActivation("gellu"), "Did you mean 'gelu'"),
        (lambda: PartialActivation("prelu"), "without weights"),
        (lambda: PartialActivation(linear_fraction=1.0), "at least 0 and below 1. Received: 1.0"),
        (lambda: PartialActivation(linear_fraction=-0.1), "Received: -0.1"),
        (lambda: PartialActivation(linear_fraction="half"), "Received: 'half'"),
        (lambda: PartialActivation(data_format="NHWC"), "Received: 'NHWC'"),
        (lambda: PartialActivation()(np.ones(4, "float32")), "known number of channels"),
        (lambda: PartialActivation()(keras.Input((4, None))), "known number of channels"),
        (lambda: LayerScale(float("nan")), "finite number. Received: nan"),
        (lambda: LayerScale("small"), "finite number. Received: 'small'"),
    ],
)
def test_what_the_layers_refuse(make, words):
    with pytest.raises(InputError, match="Expected") as caught:
        make()
    assert words in str(caught.value)
