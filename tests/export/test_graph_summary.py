"""What a graph is made of, of files and of candidates."""

import json

import numpy as np
import pytest

from keras_actnas.core import Assignment, InputError
from keras_actnas.export import (
    SUPPORTED,
    TFLiteNetwork,
    check_conversion,
    peak_tensor_memory,
    summarize_graph,
    to_tflite,
)


def test_a_float_graph(editable, operators):
    summary = summarize_graph(editable)
    assert sum(summary["operators"].values()) == operators(editable).total()
    assert summary["operators"] == check_conversion(editable, "m", "float32").operators
    assert list(summary["operators"].values()) == sorted(summary["operators"].values(), reverse=True)
    assert summary["float_islands"] == {}  # All of it is float: no island.
    assert summary["peak_tensor_bytes"] == peak_tensor_memory(editable)


@pytest.mark.parametrize("activation", SUPPORTED)
def test_a_candidates_summary_is_that_of_its_file(activation, editable):
    network = TFLiteNetwork(editable)
    assignment = Assignment.uniform(network.reference, activation)
    assert network.summarize(assignment) == summarize_graph(network.edit(assignment))
    assert network.summarize({}) == summarize_graph(network.edit({}))
    assert json.loads(json.dumps(network.summarize(assignment))) == network.summarize(assignment)


def test_a_silu_costs_operators_and_memory(editable):
    network = TFLiteNetwork(editable)
    silu, relu = (network.summarize(Assignment.uniform(network.reference, name)) for name in ("silu", "relu"))
    assert silu["operators"]["LOGISTIC"] > 0 and "LOGISTIC" not in relu["operators"]
    assert silu["peak_tensor_bytes"] > relu["peak_tensor_bytes"]


def test_assignments_that_cannot_be_used(editable):
    with pytest.raises(InputError, match="Received: 'mish'"):
        TFLiteNetwork(editable).summarize({"dense": "mish"})


def test_float_islands_of_a_quantized_graph(tmp_path):
    keras = pytest.importorskip("keras")
    x = inputs = keras.Input((16, 16, 3))
    for activation in ("relu", "elu", "silu"):
        x = keras.layers.Conv2D(4, 3, activation=activation)(x)
    model = keras.Model(inputs, x)
    images = np.random.default_rng(0).random((4, 16, 16, 3)).astype("float32")
    to_tflite(model, tmp_path / "int8.tflite", "int8", images)
    to_tflite(model, tmp_path / "float.tflite")
    quantized, plain = summarize_graph(tmp_path / "int8.tflite"), summarize_graph(tmp_path / "float.tflite")
    assert quantized["float_islands"] == {"ELU": 1}
    assert plain["float_islands"] == {}
    # The image and the first map; in the quantized graph the second map before and after the ELU, in float32.
    assert plain["peak_tensor_bytes"] == 4 * (16 * 16 * 3 + 14 * 14 * 4)
    assert quantized["peak_tensor_bytes"] == 4 * 2 * (12 * 12 * 4)
    report = check_conversion((tmp_path / "int8.tflite").read_bytes(), "m", "int8")
    assert report.warnings == ("1 ELU stayed in float32",)
