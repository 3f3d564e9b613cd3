"""A ReLU6 that is part of a hard sigmoid is not an activation to swap; any other is."""

import keras
import numpy as np
import pytest

from keras_actnas import surgery

L = keras.layers


def sites(build):
    inputs = keras.Input((4, 4, 3))
    return [
        site.name for site in surgery.activation_sites(keras.Model(inputs, build(inputs, L.ReLU(6.0, name="clip"))))
    ]


@pytest.mark.parametrize(
    "build",
    [
        lambda x, clip: clip(x + 3.0) * (1.0 / 6.0),
        lambda x, clip: clip(3.0 + x) / 6.0,
        lambda x, clip: keras.ops.multiply(clip(keras.ops.add(x, np.float32(3))), 1 / 6),
        lambda x, clip: L.Rescaling(1 / 6)(clip(x + 3)),
        lambda x, clip: x * clip(x + 3.0) / 6.0,
        lambda x, clip: L.Multiply()([x, clip(x + 3.0)]),
    ],
)
def test_a_hard_sigmoid_written_out_is_a_gate(build):
    assert sites(build) == []


@pytest.mark.parametrize(
    "build",
    [
        lambda x, clip: clip(x),
        lambda x, clip: clip(x + 3.0),
        lambda x, clip: clip(x) * (1.0 / 6.0),
        lambda x, clip: clip(x + x) * (1.0 / 6.0),
        lambda x, clip: L.Conv2D(2, 1)(clip(x + 3.0)),
        lambda x, clip: clip(L.Add()([x, x])) * 0.5,
        lambda x, clip: clip(x + np.ones((4, 4, 3), "float32")) * 0.5,
        lambda x, clip: (lambda y: L.Concatenate()([y * 0.5, y]))(clip(x + 3.0)),
    ],
)
def test_any_other_relu6_is_a_site(build):
    assert sites(build) == ["clip"]


def test_a_gate_stays_when_everything_else_is_replaced():
    inputs = keras.Input((4, 4, 3))
    x = L.ReLU(6.0, name="act")(inputs)
    x = x * (L.ReLU(6.0, name="gate")(x + 3.0) * (1.0 / 6.0))
    model = keras.Model(inputs, x)
    new = surgery.replace_activations(model, dict.fromkeys(surgery.current_assignment(model), "silu"))
    assert new.get_layer("gate").max_value == 6
    assert [(site.name, site.activation) for site in surgery.activation_sites(new)] == [("act", "silu")]


def test_a_gate_inside_of_a_nested_model_is_seen():
    inner_inputs = keras.Input((4, 4, 3))
    inner = keras.Model(inner_inputs, L.ReLU(6.0)(inner_inputs + 3.0) * (1.0 / 6.0))
    inputs = keras.Input((4, 4, 3))
    assert surgery.activation_sites(keras.Model(inputs, inner(inputs))) == []
