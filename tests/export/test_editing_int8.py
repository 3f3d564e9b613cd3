"""Editing an int8 graph: it runs, stays int8, has the converted graph's operators, and computes what it should."""

import keras
import numpy as np
import pytest

from keras_actnas.core import Assignment, InputError
from keras_actnas.export import TFLiteNetwork, check_conversion, to_editable, to_tflite
from keras_actnas.export.schema import operator_name, read_model
from keras_actnas.surgery import replace_activations

pytest.importorskip("tensorflow")
L = keras.layers
# A pooling cannot rescale, so in an int8 graph a ReLU behind one stays an operator.
BEHIND_POOLING = ("after_max_pool", "after_avg_pool")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("int8")


@pytest.fixture(scope="module")
def quantized(everything, calibration, folder):
    to_editable(everything, folder / "editable.tflite", "int8", calibration)
    return (folder / "editable.tflite").read_bytes()


def real_outputs(data, values):
    """Returns the outputs of an int8 network, by their shapes, for real inputs."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(model_content=data)
    interpreter.allocate_tensors()
    (detail,) = interpreter.get_input_details()
    scale, zero = detail["quantization"]
    interpreter.set_tensor(detail["index"], np.clip(np.round(values / scale) + zero, -128, 127).astype("int8"))
    interpreter.invoke()
    outputs = {}
    for detail in interpreter.get_output_details():
        scale, zero = detail["quantization"]
        outputs[tuple(detail["shape"])] = (interpreter.get_tensor(detail["index"]).astype("float32") - zero) * scale
    return outputs


def test_the_reference_is_silu_everywhere(quantized, operators):
    network = TFLiteNetwork(quantized)
    assert set(network.reference.values()) == {"silu"}
    assert len(network.sites) == 20
    assert operators(network.edit({})) == operators(quantized)


@pytest.mark.parametrize(
    "activation",
    [
        "relu",
        "hard_swish",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("silu", "relu6", "leaky_relu", "leaky_relu(0.3)", "gelu")),
    ],
)
def test_edited_graphs_have_the_operators_of_converted_ones(
    activation, quantized, everything, calibration, folder, operators
):
    network = TFLiteNetwork(quantized)
    assignment = dict(Assignment.uniform(network.reference, activation))
    if activation.startswith("relu"):
        assignment |= dict.fromkeys(BEHIND_POOLING, "silu")
    edited = network.edit(assignment)
    path = folder / f"{activation}.tflite"
    to_tflite(replace_activations(everything, assignment), path, "int8", calibration)
    assert operators(edited) == operators(path.read_bytes())


@pytest.mark.parametrize(
    "activation", ["silu", "relu", "relu6", "hard_swish", "leaky_relu", "leaky_relu(0.3)", "gelu", "identity"]
)
def test_edited_graphs_run_without_float_islands(activation, quantized, calibration):
    network = TFLiteNetwork(quantized)
    edited = network.edit(Assignment.uniform(network.reference, activation))
    assert check_conversion(edited, "edited", "int8").warnings == ()
    outputs = real_outputs(edited, calibration[:1])
    assert len(outputs) == 3
    assert all(output.std() > 0.1 for output in outputs.values())


@pytest.mark.parametrize("activation", ["silu", "relu", "relu6", "hard_swish", "gelu"])
def test_edited_graphs_compute_what_the_model_computes(activation, quantized, everything, calibration):
    # These activations stay within the ranges that were calibrated with SiLU, or nearly so.
    network = TFLiteNetwork(quantized)
    uniform = Assignment.uniform(network.reference, activation)
    expected = replace_activations(everything, uniform)(calibration[:4])
    for number in range(4):
        outputs = real_outputs(network.edit(uniform), calibration[number : number + 1])
        for output in expected.values():
            wanted = np.asarray(output)[number : number + 1]
            assert np.corrcoef(outputs[wanted.shape].ravel(), wanted.ravel())[0, 1] > 0.9


def concatenated():
    """Concatenation, pooling and reshape have one range for what they read and write; a convolution rescales."""
    inputs = keras.Input((8, 8, 3))
    a = L.Activation("silu", name="a")(L.Conv2D(4, 3, padding="same", name="ca")(inputs))
    b = L.Activation("silu", name="b")(L.Conv2D(4, 3, padding="same", name="cb")(inputs) * 5.0)
    x = L.Activation("silu", name="c")(L.Concatenate()([a, b]))
    x = L.Activation("silu", name="p")(L.MaxPooling2D(2)(x))
    x = L.Reshape((16, 8))(L.Conv2D(8, 1, name="cr")(x))
    x = L.Activation("silu", name="r")(x)
    return keras.Model(inputs, L.Conv1D(4, 1, name="head")(x))


@pytest.mark.parametrize("sites", ["abcpr", "a", "b", "c", "p", "r"])
@pytest.mark.parametrize("activation", ["identity", "relu", "relu6"])
def test_ranges_fit_where_operators_disappear(sites, activation, folder, wake, calibration):
    model = wake(concatenated())
    images = calibration[:, :8, :8]
    path = folder / "concatenated.tflite"
    if not path.exists():
        to_editable(model, path, "int8", images)
    network = TFLiteNetwork(path)
    assignment = dict.fromkeys(sites, activation)
    edited = network.edit(assignment)
    # A runtime rescales silently, or not at all, where these disagree.
    content = read_model(edited)
    tensors = content.subgraphs[0].tensors
    for operator in content.subgraphs[0].operators:
        if operator_name(content, operator) in ("CONCATENATION", "MAX_POOL_2D", "RESHAPE"):
            joined = [*operator.inputs, *operator.outputs]
            ranges = [tensors[int(n)].quantization for n in joined if tensors[int(n)].type == 9]
            assert len({(float(r.scale[0]), int(r.zeroPoint[0])) for r in ranges}) == 1, operator_name(
                content, operator
            )
    # What is below SiLU's range, which ends at -0.28, is clipped, so that even identity is about a ReLU.
    close = dict.fromkeys(sites, "relu" if activation == "identity" else activation)
    expected = np.asarray(replace_activations(model, close)(images[:1]))
    output = real_outputs(edited, images[:1])[expected.shape]
    assert np.corrcoef(output.ravel(), expected.ravel())[0, 1] > (0.9 if activation == "identity" else 0.97)


def test_the_sigmoid_of_a_silu_has_the_range_that_tflite_prescribes(quantized):
    network = TFLiteNetwork(quantized)
    content = read_model(network.edit({}))
    tensors = {tensor.name: tensor for tensor in content.subgraphs[0].tensors}
    gates = [name for name in tensors if name.endswith(b"/gate")]
    assert len(gates) == 21
    for name in gates:
        quantization = tensors[name].quantization
        assert (quantization.scale[0], quantization.zeroPoint[0]) == (1 / 256, -128)


def test_what_an_edit_has_fused_hides_its_range(quantized):
    again = TFLiteNetwork(TFLiteNetwork(quantized).edit({"dense": "relu"}))
    assert again.reference["dense"] == "relu"
    again.edit({"dense": "relu6"})
    with pytest.raises(InputError, match="not fused, since a fused one hides the range of its input. Received: relu"):
        again.edit({"dense": "silu"})


def test_elu_has_no_int8_operator(quantized):
    with pytest.raises(InputError, match="can put into an int8 graph. Received: ELU at 'dense'"):
        TFLiteNetwork(quantized).edit({"dense": "elu"})


def test_other_integers_are_refused(quantized):
    from keras_actnas.export.schema import pack_model, schema

    model = read_model(quantized)
    for tensor in model.subgraphs[0].tensors:
        if tensor.name == b"dense":
            tensor.type = schema().TensorType.INT16
    with pytest.raises(InputError, match="an int16 graph. Received: HARD_SWISH at 'dense'"):
        TFLiteNetwork(pack_model(model)).edit({"dense": "hard_swish"})
