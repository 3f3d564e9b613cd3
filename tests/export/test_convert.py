"""Conversion: precisions, inputs, reports, and what is refused."""

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.export import TFLiteNetwork, to_editable, to_tflite
from keras_actnas.export.schema import read_model, schema

pytest.importorskip("tensorflow")
L = keras.layers
IMAGES = np.random.default_rng(0).uniform(0, 1, (8, 8, 8, 3)).astype("float32")


def small(activation="relu", batch=None, dtype=None):
    inputs = keras.Input((8, 8, 3), batch_size=batch)
    x = L.Conv2D(4, 3, name="conv", dtype=dtype)(inputs)
    x = L.Activation(activation, name="act", dtype=dtype)(L.BatchNormalization(name="bn", dtype=dtype)(x))
    return keras.Model(inputs, L.Dense(2, name="head", dtype=dtype)(L.Flatten()(x)), name="small")


def types(path):
    subgraph = read_model(path).subgraphs[0]
    names = {value: name for name, value in vars(schema().TensorType).items()}
    return [names[subgraph.tensors[int(tensor)].type] for tensor in [*subgraph.inputs, *subgraph.outputs]]


def dequantized(data, *inputs):
    """Returns the outputs of an int8 .tflite for inputs of real numbers."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(model_content=data)
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        scale, zero = detail["quantization"]
        interpreter.set_tensor(detail["index"], np.clip(np.round(value / scale) + zero, -128, 127).astype("int8"))
    interpreter.invoke()
    outputs = []
    for detail in interpreter.get_output_details():
        scale, zero = detail["quantization"]
        outputs.append((interpreter.get_tensor(detail["index"]).astype("float32") - zero) * scale)
    return outputs


def test_float32(tmp_path, run):
    model = small()
    path = tmp_path / "m.tflite"
    report = to_tflite(model, path)
    assert report.operators == {"CONV_2D": 1, "FULLY_CONNECTED": 1, "RESHAPE": 1}
    assert (report.errors, report.warnings, report.notes) == ((), (), ())
    assert report.size == path.stat().st_size
    assert str(report).splitlines() == [
        f"{path}: float32, 0.00 MB, 3 operators (CONV_2D 1, FULLY_CONNECTED 1, RESHAPE 1)",
        "  checked: static shapes, no variables, BatchNorm folded, no TILE or SHAPE operators",
    ]
    np.testing.assert_allclose(run(path.read_bytes(), IMAGES[:1])[0], np.asarray(model(IMAGES[:1])), atol=1e-5)


def test_float16_stores_half_the_bytes_and_computes_nearly_the_same(tmp_path, run):
    model = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(64, 3, activation="silu"), L.Conv2D(48, 3)])
    for layer in model.layers:
        layer.bias.assign(np.linspace(-1, 1, layer.filters))
    full, half = tmp_path / "full.tflite", tmp_path / "half.tflite"
    to_tflite(model, full)
    report = to_tflite(model, half, "float16")
    assert report.precision == "float16"
    assert report.operators["DEQUANTIZE"] == 4
    assert not report.errors and not report.warnings
    assert half.stat().st_size < 0.55 * full.stat().st_size
    assert types(half) == ["FLOAT32", "FLOAT32"]
    np.testing.assert_allclose(run(half.read_bytes(), IMAGES[:1])[0], np.asarray(model(IMAGES[:1])), atol=1e-2)


def test_float16_files_are_editable(tmp_path, operators):
    model = small("silu")
    report = to_editable(model, tmp_path / "e.tflite", "float16")
    assert report.precision == "float16"
    edited = TFLiteNetwork(tmp_path / "e.tflite").edit({"act": "relu6"})
    to_tflite(small("relu6"), tmp_path / "c.tflite", "float16")
    assert operators(edited) == operators((tmp_path / "c.tflite").read_bytes())


def test_int8_is_int8_throughout(tmp_path):
    model = small("silu")
    report = to_tflite(model, tmp_path / "m.tflite", "int8", IMAGES)
    assert types(tmp_path / "m.tflite") == ["INT8", "INT8"]
    assert (report.precision, report.warnings, report.errors) == ("int8", (), ())
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(report.operators)
    output = dequantized((tmp_path / "m.tflite").read_bytes(), IMAGES[:1])[0]
    np.testing.assert_allclose(output, np.asarray(model(IMAGES[:1])), atol=0.05)


def test_int8_takes_an_iterable_of_single_images(tmp_path):
    to_tflite(small(), tmp_path / "array.tflite", "int8", IMAGES)
    to_tflite(small(), tmp_path / "iterable.tflite", "int8", (image for image in IMAGES))
    assert types(tmp_path / "iterable.tflite") == ["INT8", "INT8"]


@pytest.mark.parametrize("order", ["wide first", "narrow first", "dict"])
def test_calibration_data_of_several_inputs_go_to_the_inputs_in_the_models_order(order, tmp_path):
    # The converted graph has an order of its own; in the wrong one each input has the other one's range.
    wide, narrow = keras.Input((8, 8, 3), name="wide"), keras.Input((8, 8, 3), name="narrow")
    x = L.Add()([L.Conv2D(4, 3, name="a")(narrow), L.Conv2D(4, 3, activation="relu", name="b")(wide)])
    inputs = {
        "wide first": [wide, narrow],
        "narrow first": [narrow, wide],
        "dict": {"wide": wide, "narrow": narrow},
    }[order]
    model = keras.Model(inputs, x)
    largest = {"wide": 100, "narrow": 1}
    data = [[image * largest[tensor.name] for tensor in model.inputs] for image in IMAGES]
    to_tflite(model, tmp_path / "m.tflite", "int8", data)
    subgraph = read_model(tmp_path / "m.tflite").subgraphs[0]
    scale = {}
    for tensor in (subgraph.tensors[int(tensor)] for tensor in subgraph.inputs):
        scale["wide" if b"wide" in tensor.name else "narrow"] = float(tensor.quantization.scale[0])
    np.testing.assert_allclose([scale["wide"], scale["narrow"]], [100 / 255, 1 / 255], rtol=0.02)


def test_any_batch_size_and_dtype_policy(tmp_path):
    for number, model in enumerate([small(batch=4), small(dtype="mixed_float16")]):
        path = tmp_path / f"{number}.tflite"
        report = to_tflite(model, path)
        assert report.operators == {"CONV_2D": 1, "FULLY_CONNECTED": 1, "RESHAPE": 1}
        assert [list(read_model(path).subgraphs[0].tensors[0].shape)] == [[1, 8, 8, 3]]


def mixed_model():
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, activation="mish", name="first")(inputs)
    x = L.Conv2D(4, 1, activation="relu", name="second")(x)
    x = L.PReLU(shared_axes=[1, 2], alpha_initializer="ones", name="third")(L.Conv2D(4, 1)(x))
    x = L.Conv2D(4, 1, activation="selu", name="fourth")(x)
    x = L.Conv2D(4, 1, activation="elu", name="fifth")(x)
    return keras.Model(inputs, L.Conv2D(4, 1, activation="softplus", name="sixth")(x))


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_activations_that_editing_cannot_write_stay(precision, tmp_path, operators, run):
    model = mixed_model()
    path = tmp_path / "m.tflite"
    report = to_editable(model, path, precision, IMAGES)
    network = TFLiteNetwork(path)
    assert list(network.reference) == ["second", "fifth"]
    note = "not a site in this file, since graph editing cannot write it: mish 1, prelu 1, selu 1, softplus 1 "
    assert report.notes[-1] == note + "(first, third, fourth, ...)"
    assert f"  note: {report.notes[-1]}" in str(report)
    assert {"PRELU": 1, "TANH": 1, "SELECT": 1}.items() <= report.operators.items()
    if precision == "float32":
        assert dict(network.reference) == {"second": "relu", "fifth": "elu"}
        to_tflite(model, tmp_path / "plain.tflite")
        assert operators(path.read_bytes()) == operators((tmp_path / "plain.tflite").read_bytes())
        np.testing.assert_allclose(run(path.read_bytes(), IMAGES[:1])[0], np.asarray(model(IMAGES[:1])), atol=1e-5)
        assert len(run(network.edit({"second": "hard_swish", "fifth": "relu"}), IMAGES[:1])) == 1
    else:
        assert dict(network.reference) == {"second": "silu", "fifth": "silu"}


def test_an_int8_file_has_silu_everywhere_and_says_so(tmp_path):
    report = to_editable(small("relu"), tmp_path / "m.tflite", "int8", IMAGES)
    assert report.notes == ("silu at all 1 sites, for which the ranges are calibrated",)
    assert dict(TFLiteNetwork(tmp_path / "m.tflite").reference) == {"act": "silu"}
    assert report.operators["LOGISTIC"] == 1


def test_models_without_an_editable_activation_are_refused(tmp_path):
    path = tmp_path / "m.tflite"
    with pytest.raises(InputError, match="relu, silu.*Received: 'small', which has none"):
        to_editable(small("softmax"), path)
    with pytest.raises(InputError, match="which has mish 1"):
        to_editable(small("mish"), path)
    assert not list(tmp_path.iterdir())


def test_sites_that_the_converter_merges_are_refused(tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3)(inputs)
    model = keras.Model(inputs, [L.ReLU(name="a")(x), L.ReLU(6, name="b")(x)])
    with pytest.raises(InputError, match="without 'b'.*1 of 2 missing.*two sites may read the same tensor"):
        to_editable(model, tmp_path / "m.tflite")


@pytest.mark.parametrize("function", [to_tflite, to_editable])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("int4",), "Expected precision to be one of float32, float16, int8. Received: 'int4'"),
        (("int8",), "Expected representative_data for int8"),
        (("int8", []), "at least one representative image.*none"),
        (("int8", IMAGES[0]), r"shape \[\(8, 8, 3\)\]. Received: \[\(8, 3\)\]"),
        (("int8", IMAGES[:, :4]), r"Received: \[\(4, 8, 3\)\]"),
        (("int8", IMAGES[None]), r"Received: \[\(8, 8, 8, 3\)\]"),
        (("int8", [[IMAGES[0], IMAGES[0]]]), r"Received: \[\(8, 8, 3\), \(8, 8, 3\)\]"),
        (("int8", 3), "Expected representative_data of images. Received: int"),
        (("int8", "photos"), "Expected representative_data of images. Received: str"),
        (("int8", [["a"]]), "images of numbers"),
        (("int8", np.full_like(IMAGES, np.nan)), "finite numbers"),
    ],
)
def test_arguments_that_cannot_be_used(function, arguments, message, tmp_path):
    with pytest.raises(InputError, match=message):
        function(small(), tmp_path / "m.tflite", *arguments)
    assert not list(tmp_path.iterdir())


def test_dynamic_spatial_shapes_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((None, None, 3)), L.Conv2D(4, 3, activation="relu")])
    with pytest.raises(InputError, match="dimensions are all known.*input_shape"):
        to_tflite(model, tmp_path / "m.tflite")


@pytest.mark.parametrize("function", [to_tflite, to_editable])
def test_a_place_that_cannot_be_written(function, tmp_path):
    with pytest.raises(InputError, match="Expected a place that can be written. Received: .*missing/m.tflite"):
        function(small(), tmp_path / "missing" / "m.tflite")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="Expected a place that can be written"):
        function(small(), tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_model_that_needs_more_than_tflites_operators(tmp_path):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.ops.erfinv(L.Conv2D(2, 3, activation="relu")(inputs)), name="odd")
    with pytest.raises(
        InputError, match="Expected a model that TFLite can hold. Received: 'odd'; the converter says: "
    ) as info:
        to_tflite(model, tmp_path / "m.tflite")
    assert "\n" not in str(info.value) and len(str(info.value)) < 500
    assert not list(tmp_path.iterdir())


def test_another_backend_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InputError, match="Expected the TensorFlow backend.*Received: 'jax'.*KERAS_BACKEND=tensorflow"):
        to_tflite(small(), tmp_path / "m.tflite")


def test_the_original_model_stays_as_it_is(tmp_path):
    model = small("relu")
    before = [np.array(weight) for weight in model.weights]
    to_editable(model, tmp_path / "m.tflite")
    assert model.get_layer("act").activation is keras.activations.relu
    assert model.inputs[0].shape == (None, 8, 8, 3)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)
