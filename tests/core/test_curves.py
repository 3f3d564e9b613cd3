import numpy as np
import pytest

from keras_actnas.core import KNOWN, InputError
from keras_actnas.core.curves import curve, curve_difference

X = np.array([-7.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 7.0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("relu", [0, 0, 0, 0, 0, 0.5, 1, 3, 7]),
        ("relu6", [0, 0, 0, 0, 0, 0.5, 1, 3, 6]),
        ("identity", X),
        ("hard_swish", [0, 0, -1 / 3, -0.5 * 2.5 / 6, 0, 0.5 * 3.5 / 6, 2 / 3, 3, 7]),
        ("leaky_relu", [-0.7, -0.3, -0.1, -0.05, 0, 0.5, 1, 3, 7]),
        ("leaky_relu(0.3)", [-2.1, -0.9, -0.3, -0.15, 0, 0.5, 1, 3, 7]),
    ],
)
def test_piecewise_curves(name, value):
    np.testing.assert_allclose(curve(name)(X), value, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in KNOWN if name != "prelu"])
def test_curves_agree_with_keras(name):
    from keras_actnas.layers import activation_function

    np.testing.assert_allclose(curve(name)(X), np.asarray(activation_function(name)(X.astype("float32"))), atol=2e-6)


def test_prelu_has_no_curve():
    with pytest.raises(InputError, match="without weights.*'prelu'"):
        curve("prelu")


def test_relu_and_relu6_differ_from_silu_alike():
    likeness = curve_difference(["relu", "relu6", "hard_swish"], "silu")
    scale = np.sqrt(np.diag(likeness))
    assert likeness[0, 1] / (scale[0] * scale[1]) > 0.999
    assert scale[2] < 0.5 * scale[0]
    assert np.linalg.eigvalsh(likeness).min() > -1e-12


def test_the_reference_does_not_differ_from_itself():
    assert curve_difference(["silu"], "silu")[0, 0] == 0
