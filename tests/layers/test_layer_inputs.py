"""What the layers refuse: every message says what was expected and what came."""

import re

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.layers import ACONA, ACONB, ACONC, MetaACON, StochasticPEA, WeightedPEA

Constant = keras.initializers.Constant


def refuses(function, *words):
    with pytest.raises(InputError) as caught:
        function()
    message = str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert re.search(r"Expected .+\. Received: ", message, re.DOTALL), message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize("kind", [WeightedPEA, StochasticPEA])
def test_activations(kind):
    refuses(lambda: kind("rleu"), "rleu", "Did you mean 'relu'")
    refuses(lambda: kind("prelu"), "prelu", "without weights")
    for value in (None, 3, keras.layers.ReLU(), keras.layers.PReLU()):
        refuses(lambda value=value: kind(value), "name of an activation")


@pytest.mark.parametrize("alpha", [-0.01, 1.01, float("nan"), float("inf"), "much", None, [0.1, 0.2]])
def test_alpha(make_pea, alpha):
    refuses(lambda: make_pea(alpha=alpha), "alpha", repr(alpha))
    layer = make_pea()
    refuses(lambda: setattr(layer, "alpha", alpha), "alpha", repr(alpha))
    layer.build((None, 3))
    refuses(lambda: setattr(layer, "alpha", alpha), "alpha", repr(alpha))
    assert float(layer.alpha) == pytest.approx(0.3)


@pytest.mark.parametrize("reduction", [0, -1, True, False, 2.0, "4", None])
def test_reductions(reduction):
    refuses(lambda: MetaACON(reduction), "reduction", repr(reduction))


def test_numbers_of_numpy():
    assert MetaACON(np.int64(2)).get_config()["reduction"] == 2
    assert ACONC(shared_axes=np.int64(1)).get_config()["shared_axes"] == [1]


def test_a_reduction_above_the_channels():
    refuses(lambda: MetaACON().build((None, 4, 4, 8)), "8 channels", "reduction=16", "`reduction=8`")
    MetaACON(8).build((None, 4, 4, 8))
    MetaACON(granularity="layer").build((None, 4, 4, 8))  # Has no hidden units.


@pytest.mark.parametrize("granularity", ["channels", "", None, 1])
def test_granularities(granularity):
    refuses(lambda: MetaACON(granularity=granularity), "channel, layer, pixel", repr(granularity))


@pytest.mark.parametrize("options", [{"data_format": "channels_first"}, {}, {"shared_axes": [1, 3]}])
def test_unknown_sizes_along_parameters(make_acon, options):
    shape = (None, None, None, None)
    refuses(lambda: make_acon(**options).build(shape), "known size of axis", str(shape))


def test_an_unknown_number_of_channels_of_meta_acon():
    layer = MetaACON(2, shared_axes=[1, 2, 3])
    refuses(lambda: layer.build((None, 4, 4, None)), "known number of channels")
    MetaACON(granularity="pixel", shared_axes=[1, 2, 3]).build((None, 4, 4, None))


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_inputs_that_are_no_real_numbers(make_layer, dtype):
    numbers = keras.ops.ones((2, 4), dtype)
    refuses(lambda: make_layer()(numbers), "floating-point", dtype)
    refuses(lambda: make_layer()(numbers, training=True), "floating-point", dtype)

    refuses(lambda: make_layer()(keras.Input((4,), dtype=dtype)), "floating-point", dtype)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, float("nan")]])
def test_start_values_that_are_not_finite(value):
    for make in (
        lambda start: ACONA(beta_initializer=start),
        lambda start: ACONB(p_initializer=start),
        lambda start: ACONC(p2_initializer=start),
        lambda start: MetaACON(p1_initializer=start),
    ):
        refuses(lambda make=make: make(Constant(value)), "finite")


@pytest.mark.parametrize("shared", [[0], [4], 4, [-4], [1, 7]])
def test_shared_axes(make_acon, shared):
    refuses(lambda: make_acon(shared_axes=shared).build((None, 4, 4, 4)), "shared_axes", "between 1 and 3")


@pytest.mark.parametrize("layout", ["channels", "NHWC", 1])
def test_data_formats(make_acon, layout):
    refuses(lambda: make_acon(data_format=layout), "channels_last", repr(layout))


def test_inputs_without_channels(make_acon):
    refuses(lambda: make_acon()(np.ones(4, "float32")), "batch and a channel axis", "(4,)")
