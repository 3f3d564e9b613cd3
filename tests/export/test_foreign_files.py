""".tflite files without a list of sites: activations are found by pattern and named by their tensors."""

import keras
import numpy as np
import pytest

from keras_actnas.core import Assignment, InputError
from keras_actnas.export import TFLiteNetwork, to_tflite
from keras_actnas.export.schema import operator_name, pack_model, read_model
from keras_actnas.surgery import current_assignment, replace_activations

pytest.importorskip("tensorflow")
L = keras.layers
CANDIDATES = ("relu", "relu6", "silu", "hard_swish", "leaky_relu", "gelu", "elu")


def convert(model, tmp_path, precision="float32", data=None):
    to_tflite(model, tmp_path / "foreign.tflite", precision, data)
    return (tmp_path / "foreign.tflite").read_bytes()


def hard_sigmoid(x):
    return L.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)


def squeeze_excite(x, name, gate=hard_sigmoid):
    scale = L.GlobalAveragePooling2D(keepdims=True)(x)
    scale = L.Conv2D(4, 1, activation="relu", name=f"{name}_reduce")(scale)
    return L.Multiply()([x, gate(L.Conv2D(x.shape[-1], 1, name=f"{name}_expand")(scale))])


def mobile_block(gate=hard_sigmoid):
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(8, 3, activation="relu6", name="stem")(inputs)
    x = squeeze_excite(x, "se", gate)
    x = L.Conv2D(8, 1, activation="hard_silu", name="project")(x)
    return keras.Model(inputs, L.Conv2D(4, 1, activation="sigmoid", name="head")(x))


@pytest.fixture(scope="module")
def plain(everything, tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    return convert(everything, folder)


def test_every_activation_is_found(plain, everything):
    network = TFLiteNetwork(plain)
    # A layer that is called twice is two places, which nothing connects.
    assert len(network.sites) == len(current_assignment(everything)) + 1
    assert all(site.name and ";" not in site.name for site in network.sites)
    counts = dict(current_assignment(everything).counts())
    assert network.reference.counts() == counts | {"leaky_relu": counts["leaky_relu"] + 1}


def test_an_edit_without_swaps_is_the_same_graph(plain, operators):
    assert operators(TFLiteNetwork(plain).edit({})) == operators(plain)


@pytest.mark.parametrize("activation", CANDIDATES)
def test_uniform_edits(activation, plain, editable, operators, run, image, assert_same_outputs):
    foreign, own = TFLiteNetwork(plain), TFLiteNetwork(editable)
    edited = foreign.edit(Assignment.uniform(foreign.reference, activation))
    expected = own.edit(Assignment.uniform(own.reference, activation))
    assert operators(edited) == operators(expected)
    assert_same_outputs(run(edited, image), run(expected, image))


def test_each_activation_is_recognised_from_its_operators(everything, plain, editable):
    own = TFLiteNetwork(editable)
    random = np.random.default_rng(3)
    for _ in range(5):
        assignment = {site: str(random.choice([*CANDIDATES, "leaky_relu(0.25)"])) for site in own.reference}
        assignment["after_another"] = "silu"  # Behind the same ReLU it would be left out.
        edited = read_model(own.edit(assignment))
        edited.metadata = []
        found = TFLiteNetwork(pack_model(edited)).reference.counts()
        expected = Assignment({**assignment, "second call of shared": assignment["shared"]}).counts()
        assert found == expected


def test_an_approximate_gelu_is_no_site(tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = L.Activation("relu")(L.Conv2D(4, 3)(inputs))
    data = convert(keras.Model(inputs, keras.ops.gelu(L.Conv2D(4, 1)(x), approximate=True)), tmp_path)
    assert list(TFLiteNetwork(data).reference.values()) == ["relu"]


def test_a_tanh_fused_by_another_converter_is_no_site_and_stays(plain, operators):
    model = read_model(plain)
    operator = next(o for o in model.subgraphs[0].operators if operator_name(model, o) == "ADD")
    assert operator.builtinOptions.fusedActivationFunction == 1
    operator.builtinOptions.fusedActivationFunction = 4
    network = TFLiteNetwork(pack_model(model))
    assert len(network.sites) == len(TFLiteNetwork(plain).sites) - 1
    edited = network.edit(Assignment.uniform(network.reference, "gelu"))
    assert operators(edited)["ADD", 4, 1] == 1


@pytest.mark.parametrize(
    "gate",
    [hard_sigmoid, lambda x: L.ReLU(6.0)(x + 3.0) / 6.0, L.Activation("hard_sigmoid")],
    ids=["times a sixth", "by six", "keras"],
)
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_hard_sigmoid_gate_is_no_site(gate, precision, tmp_path):
    data = convert(mobile_block(gate), tmp_path, precision, np.random.default_rng(0).random((4, 8, 8, 3)))
    network = TFLiteNetwork(data)
    assert list(network.reference.values()) == ["relu6", "relu", "hard_swish"]
    stayed = read_model(network.edit({}))
    assert [operator_name(stayed, o) for o in stayed.subgraphs[0].operators] == [
        operator_name(read_model(data), o) for o in read_model(data).subgraphs[0].operators
    ]


def test_the_gate_stays_when_everything_else_is_swapped(tmp_path, run):
    model = mobile_block()
    network = TFLiteNetwork(convert(model, tmp_path))
    images = np.random.default_rng(0).normal(0, 2, (1, 8, 8, 3)).astype("float32")
    for activation in ("silu", "leaky_relu", "relu"):
        swapped = replace_activations(model, Assignment.uniform(current_assignment(model), activation))
        output = run(network.edit(Assignment.uniform(network.reference, activation)), images)[0]
        np.testing.assert_allclose(output, np.asarray(swapped(images)), atol=1e-5)


def test_a_relu6_that_is_scaled_by_another_number_is_a_site(tmp_path):
    network = TFLiteNetwork(convert(mobile_block(lambda x: L.ReLU(6.0)(x) * 0.25), tmp_path))
    assert network.reference.counts() == {"relu6": 2, "hard_swish": 1, "relu": 1}


def test_a_sigmoid_gate_is_no_silu(tmp_path):
    network = TFLiteNetwork(convert(mobile_block(L.Activation("sigmoid")), tmp_path))
    assert list(network.reference.values()) == ["relu6", "relu", "hard_swish"]


def test_sites_with_the_same_tensor_name_are_told_apart(plain):
    model = read_model(plain)
    network = TFLiteNetwork(plain)
    for tensor in model.subgraphs[0].tensors:
        if tensor.name.decode().split(";")[0] in network.reference:
            tensor.name = b"act"
    names = list(TFLiteNetwork(pack_model(model)).reference)
    assert names[:3] == ["act", "act#2", "act#3"]
    assert len(names) == len(network.reference)


def test_tensors_without_names(plain):
    model = read_model(plain)
    for tensor in model.subgraphs[0].tensors:
        tensor.name = None
    network = TFLiteNetwork(pack_model(model))
    assert len(network.sites) == len(TFLiteNetwork(plain).sites)
    assert len(network.edit(Assignment.uniform(network.reference, "silu"))) > 1000


def test_an_int8_file_with_fused_relus(tmp_path, run):
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, activation="relu", name="fused")(inputs)
    x = L.ReLU(name="own")(L.Concatenate()([x, L.Conv2D(4, 3, name="beside")(inputs)]))
    model = keras.Model(inputs, L.Conv2D(4, 1, name="head")(x))
    data = convert(model, tmp_path, "int8", np.random.default_rng(0).random((4, 8, 8, 3)))
    network = TFLiteNetwork(data)
    fused, own = list(network.reference)
    image = np.random.default_rng(1).integers(-128, 127, (1, 8, 8, 3)).astype("int8")
    for assignment in ({fused: "relu6"}, {fused: "identity"}, {own: "silu"}, {own: "hard_swish"}, {own: "identity"}):
        run(network.edit(assignment), image)
    with pytest.raises(InputError, match="not fused, since a fused one hides the range of its input. Received: relu"):
        network.edit({fused: "silu"})
