"""Keras to ONNX: the converted file computes what the model computes, and knows its sites."""

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.export import ONNXNetwork, to_editable_onnx
from keras_actnas.export.onnx_files import operator_counts, read_onnx, read_sites
from keras_actnas.surgery import activation_sites, current_assignment

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")
pytest.importorskip("tensorflow")
L = keras.layers


def run(data, *inputs):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    feeds = {value.name: array for value, array in zip(session.get_inputs(), inputs, strict=True)}
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds), strict=True))


def assert_close(received, expected):
    """Compares within 1e-5 of what the values range over."""
    expected = np.asarray(expected)
    assert received.shape == expected.shape
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5 * np.ptp(expected))


def small(activation="relu", batch=None, dtype=None):
    inputs = keras.Input((8, 8, 3), batch_size=batch, name="image")
    x = L.Conv2D(4, 3, name="conv", dtype=dtype)(inputs)
    x = L.Activation(activation, name="act", dtype=dtype)(L.BatchNormalization(name="bn", dtype=dtype)(x))
    return keras.Model(inputs, L.Dense(2, name="head", dtype=dtype)(L.Flatten()(x)), name="small")


@pytest.fixture(scope="module")
def converted(everything, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "everything.onnx"
    return to_editable_onnx(everything, path), path.read_bytes()


def test_the_file_computes_what_the_model_computes(converted, everything, image):
    received, expected = run(converted[1], image), everything(image)
    # Outputs have the names of the layers that make them, in the model's order.
    assert list(received) == ["at_output", "map", "plain"]
    for output, name in zip(received.values(), ("last", "map", "plain"), strict=True):
        assert_close(output, expected[name])


def test_the_sites_are_the_models(converted, everything):
    network = ONNXNetwork(converted[1])
    assert dict(network.reference) == dict(current_assignment(everything))
    assert {site.name: site for site in network.sites} == {site.name: site for site in activation_sites(everything)}
    assert len(read_sites(read_onnx(converted[1]))["shared"]["tensors"]) == 2


def test_nodes_and_tensors_carry_the_sites_names(converted):
    nodes = {node.name: node for node in read_onnx(converted[1]).graph.node}
    assert nodes["after_conv"].op_type == "Relu" and nodes["after_conv"].output == ["after_conv"]
    assert nodes["after_depthwise/gate"].op_type == "Sigmoid" and nodes["after_depthwise"].op_type == "Mul"
    assert nodes["shared"].op_type == nodes["shared:1"].op_type == "LeakyRelu"
    assert b"actnas-site" not in converted[1]


def test_normalization_is_folded_and_shapes_are_static(converted, everything):
    report, data = converted
    model = read_onnx(data)
    assert report.operators == operator_counts(model)
    assert report.errors == report.warnings == report.notes == ()
    assert report.size == len(data) and "float32" in str(report)
    assert [[size.dim_value for size in value.type.tensor_type.shape.dim] for value in model.graph.input] == [
        [1, 16, 16, 3]
    ]
    # One at the input, one at the output `map`, and one where a reshape wants the channels last.
    assert report.operators["Transpose"] == 3
    # A nearest-neighbour enlargement in the one spelling that every runtime has.
    (resize,) = [node for node in model.graph.node if node.op_type == "Resize"]
    assert b"asymmetric" in [item.s for item in resize.attribute]


def test_a_depthwise_convolution_takes_up_its_normalization(tmp_path, wake):
    inputs = keras.Input((8, 8, 3))
    x = L.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(inputs)
    x = L.ZeroPadding2D(1)(L.Conv2D(6, 3, name="stem")(x))
    x = L.ReLU(6, name="act")(L.BatchNormalization()(L.DepthwiseConv2D(3, use_bias=False)(x)))
    model = keras.Model(inputs, L.Conv2D(4, 1)(x))
    for layer in model.layers[2:]:
        wake(keras.Sequential([layer])) if layer.weights else None
    report = to_editable_onnx(model, tmp_path / "m.onnx")
    assert report.operators == {"Conv": 3, "Transpose": 2, "Clip": 1, "Mul": 1, "Sub": 1}
    image = np.random.default_rng(0).normal(0, 1, (1, 8, 8, 3)).astype("float32")
    (output,) = run((tmp_path / "m.onnx").read_bytes(), image).values()
    assert_close(output, model(image))


def test_several_inputs_stay_in_their_order(tmp_path):
    wide, narrow = keras.Input((8, 8, 3), name="wide"), keras.Input((8, 8, 3), name="narrow")
    x = L.Add()([L.Conv2D(4, 3, name="a")(narrow), L.Conv2D(4, 3, activation="relu", name="b")(wide)])
    model = keras.Model([wide, narrow], [L.Conv2D(2, 1, name="z")(x), L.Conv2D(2, 1, activation="silu", name="y")(x)])
    to_editable_onnx(model, tmp_path / "m.onnx")
    images = np.random.default_rng(0).normal(0, 1, (2, 1, 8, 8, 3)).astype("float32")
    received = run((tmp_path / "m.onnx").read_bytes(), *images)
    assert list(received) == ["z", "y"]
    for output, expected in zip(received.values(), model(list(images)), strict=True):
        assert_close(output, expected)


@pytest.mark.parametrize("options", [{"batch": 4}, {"dtype": "mixed_float16"}])
def test_any_batch_size_and_dtype_policy(options, tmp_path):
    report = to_editable_onnx(small(**options), tmp_path / "m.onnx")
    assert report.operators == {"Conv": 1, "MatMul": 1, "Relu": 1, "Reshape": 1, "Transpose": 2}
    image = np.ones((1, 8, 8, 3), "float32")
    assert [output.shape for output in run((tmp_path / "m.onnx").read_bytes(), image).values()] == [(1, 2)]


def test_activations_that_editing_cannot_write_stay(tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, activation="softplus", name="first")(inputs)
    x = L.Conv2D(4, 1, activation="relu", name="second")(x)
    model = keras.Model(inputs, L.Conv2D(4, 1, activation="elu", name="third")(x))
    report = to_editable_onnx(model, tmp_path / "m.onnx")
    assert report.notes == ("not a site in this file, since graph editing cannot write it: softplus 1 (first)",)
    data = (tmp_path / "m.onnx").read_bytes()
    assert dict(ONNXNetwork(data).reference) == {"second": "relu", "third": "elu"}
    image = np.random.default_rng(0).normal(0, 1, (1, 8, 8, 3)).astype("float32")
    assert_close(next(iter(run(data, image).values())), model(image))


def test_a_layout_that_changes_back_and_forth_is_told_of(tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = inputs
    for _ in range(3):
        x = L.Permute((2, 1, 3))(L.Conv2D(4, 3, activation="relu")(x))
    report = to_editable_onnx(keras.Model(inputs, x), tmp_path / "m.onnx")
    (warning,) = report.warnings
    assert "Transpose: the layout changes more often" in warning and warning in str(report)


def test_what_cannot_be_converted(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    with pytest.raises(InputError, match="relu, silu.*Received: 'small', which has none"):
        to_editable_onnx(small("softmax"), path)
    dynamic = keras.Sequential([keras.Input((None, None, 3)), L.Conv2D(4, 3, activation="relu")])
    with pytest.raises(InputError, match="dimensions are all known"):
        to_editable_onnx(dynamic, path)
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3)(inputs)
    twins = keras.Model(inputs, [L.ReLU(name="a")(x), L.ReLU(6, name="b")(x)])
    with pytest.raises(InputError, match="without '[ab]'.*1 of 2 missing.*two sites may read the same tensor"):
        to_editable_onnx(twins, path)
    odd = keras.Model(inputs, keras.ops.erfinv(L.ReLU()(x)), name="odd")
    with pytest.raises(InputError, match="Expected a model that ONNX can hold. Received: 'odd'; .*Erfinv"):
        to_editable_onnx(odd, path)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InputError, match="Expected the TensorFlow backend.*KERAS_BACKEND=tensorflow"):
        to_editable_onnx(small(), path)
    assert not list(tmp_path.iterdir())


def test_the_original_model_stays_as_it_is(tmp_path):
    model = small()
    before = [np.array(weight) for weight in model.weights]
    to_editable_onnx(model, tmp_path / "m.onnx")
    assert model.get_layer("act").activation is keras.activations.relu
    assert model.inputs[0].shape == (None, 8, 8, 3)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small", "EfficientNetB0"])
def test_applications(name, wake, tmp_path):
    model = wake(getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3)), gain=1.15)
    for layer in model.layers:
        if isinstance(layer, L.Normalization):
            next(weight for weight in layer.weights if weight.name == "variance").assign([0.5, 1.0, 2.0])
            layer.finalize_state()
    report = to_editable_onnx(model, tmp_path / "m.onnx")
    assert report.warnings == ()
    image = np.random.default_rng(0).uniform(0, 1, (1, 96, 96, 3)).astype("float32")
    (output,) = run((tmp_path / "m.onnx").read_bytes(), image).values()
    assert_close(output, model(image))
