"""`TFLiteNetwork`: reading, editing again and again, and what is refused."""

import hashlib
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_actnas.core import Assignment, InputError
from keras_actnas.export import SUPPORTED, TFLiteNetwork, to_editable, to_tflite
from keras_actnas.export.schema import operator_name, pack_model, read_model
from keras_actnas.surgery import activation_sites

pytest.importorskip("tensorflow")
L = keras.layers


def test_sites_have_the_models_names_shapes_and_order(everything, editable):
    sites = {site.name: site for site in TFLiteNetwork(editable).sites}
    expected = {site.name: site for site in activation_sites(everything)}
    # Where a ReLU is fused before a RESHAPE, the shape is the one before it.
    assert sites.pop("after_reshape").elements == expected.pop("after_reshape").elements
    assert sites == expected
    order = [name for name in sites if name.startswith("after")]
    assert order.index("after_conv") < order.index("after_depthwise") < order.index("after_max_pool")


def test_files_and_bytes_are_read_alike(editable, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(editable)
    assignment = {"after_conv": "gelu"}
    assert TFLiteNetwork(path).edit(assignment) == TFLiteNetwork(str(path)).edit(assignment)
    assert TFLiteNetwork(path).edit(assignment) == TFLiteNetwork(editable).edit(assignment)


def test_edits_leave_the_network_as_it_is(editable):
    network = TFLiteNetwork(editable)
    sites = network.reference
    edits = [Assignment.uniform(sites, name) for name in SUPPORTED]
    first = [network.edit(assignment) for assignment in edits]
    assert len(set(first)) == len(edits)
    assert [network.edit(assignment) for assignment in edits] == first
    assert [TFLiteNetwork(editable).edit(assignment) for assignment in edits] == first
    assert network.edit({}) == network.edit(network.reference)
    assert dict(network.reference) == dict(TFLiteNetwork(editable).reference)


def test_the_tflite_is_not_written_to(editable):
    before = hashlib.sha256(editable).hexdigest()
    TFLiteNetwork(editable).edit({"dense": "gelu"})
    assert hashlib.sha256(editable).hexdigest() == before


def test_sites_that_are_left_out_keep_their_activation(editable):
    edited = TFLiteNetwork(TFLiteNetwork(editable).edit({"after_conv": "gelu", "map": "hard_swish"}))
    assert edited.reference.swaps(TFLiteNetwork(editable).reference) == {"after_conv": "gelu", "map": "hard_swish"}


@pytest.mark.parametrize("activation", [name for name in SUPPORTED if name != "identity"])
def test_an_edited_file_can_be_edited_again(activation, editable, operators, run, image, assert_same_outputs):
    network = TFLiteNetwork(editable)
    uniform = Assignment.uniform(network.reference, activation)
    again = TFLiteNetwork(network.edit(uniform))
    lost = ["after_another"] if activation in ("relu", "relu6") else []  # Twice a ReLU is once a ReLU.
    assert list(again.reference) == [site for site in network.reference if site not in lost]
    assert set(again.reference.values()) == {activation}
    assert [site.shape for site in again.sites] == [site.shape for site in network.sites if site.name not in lost]
    back = {site: name for site, name in network.reference.items() if site not in lost}
    restored, expected = again.edit(back), network.edit(back | dict.fromkeys(lost, "identity"))
    assert operators(restored) == operators(expected)
    assert_same_outputs(run(restored, image), run(expected, image))


def test_a_silu_with_a_fused_relu_behind_it_is_two_sites(editable):
    network = TFLiteNetwork(editable)
    assert network.reference["before_another"] == "silu" and network.reference["after_another"] == "relu"
    swapped = TFLiteNetwork(network.edit({"before_another": "relu6", "after_another": "silu"}))
    assert swapped.reference["before_another"] == "relu6" and swapped.reference["after_another"] == "silu"


def test_a_site_that_became_identity_is_gone_from_the_edited_file(editable):
    network = TFLiteNetwork(editable)
    again = TFLiteNetwork(network.edit({"after_conv": "identity", "shared": "identity"}))
    assert set(network.reference) - set(again.reference) == {"after_conv", "shared"}
    with pytest.raises(InputError, match="'after_conv'"):
        again.edit({"after_conv": "relu"})
    with pytest.raises(InputError, match="Expected a network with activations to swap"):
        TFLiteNetwork(network.edit(Assignment.uniform(network.reference, "identity")))


def test_metadata_of_the_file_survives(editable):
    network = TFLiteNetwork(editable)
    before, after = read_model(editable), read_model(network.edit({"dense": "gelu"}))
    assert [entry.name for entry in after.metadata] == [entry.name for entry in before.metadata]
    for old, new in zip(before.metadata, after.metadata, strict=True):
        assert bytes(after.buffers[new.buffer].data) == bytes(before.buffers[old.buffer].data)
    assert after.description == before.description
    listed = json.loads(bytes(after.buffers[after.metadata[-1].buffer].data))["sites"]
    assert listed["shared"] == ["shared", "shared:1"]


@pytest.mark.parametrize("activation", ["silu", "relu", "leaky_relu", "identity"])
def test_edited_graphs_hold_nothing_that_is_not_used(activation, editable):
    network = TFLiteNetwork(editable)
    model = read_model(network.edit(Assignment.uniform(network.reference, activation)))
    subgraph = model.subgraphs[0]
    ends = [*subgraph.inputs, *subgraph.outputs]
    used = {int(t) for o in subgraph.operators for t in [*o.inputs, *o.outputs] if t >= 0} | {int(t) for t in ends}
    assert used == set(range(len(subgraph.tensors)))
    assert {operator.opcodeIndex for operator in subgraph.operators} == set(range(len(model.operatorCodes)))
    buffers = {tensor.buffer for tensor in subgraph.tensors} | {entry.buffer for entry in model.metadata}
    assert buffers | {0} == set(range(len(model.buffers)))
    names = [tensor.name for tensor in subgraph.tensors]
    assert len(set(names)) == len(names)
    assert model.buffers[0].data is None or len(model.buffers[0].data) == 0


def test_an_edit_is_no_larger_than_a_conversion(everything, editable, tmp_path):
    from keras_actnas.surgery import replace_activations

    network = TFLiteNetwork(editable)
    uniform = Assignment.uniform(network.reference, "relu")
    to_tflite(replace_activations(everything, uniform), tmp_path / "m.tflite")
    assert len(network.edit(uniform)) < (tmp_path / "m.tflite").stat().st_size + 4000  # The list of sites.


@pytest.mark.parametrize("activation", ["silu", "relu", "identity"])
def test_signatures_work_after_editing(activation, everything, editable, image):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    from keras_actnas.surgery import replace_activations

    network = TFLiteNetwork(editable)
    # "at_output" and "forked" share a tensor when the activation at the output is left out.
    uniform = Assignment.uniform(network.reference, activation)
    interpreter = litert.Interpreter(model_content=network.edit(uniform))
    outputs = interpreter.get_signature_runner("serving_default")(image=image)
    expected = replace_activations(everything, uniform)(image)
    assert outputs.keys() == expected.keys() == {"last", "map", "plain"}
    for name, output in outputs.items():
        np.testing.assert_allclose(output, np.asarray(expected[name]), rtol=0, atol=2e-4)


def test_an_activation_between_two_outputs(tmp_path, run):
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, name="conv")(inputs)
    model = keras.Model(inputs, {"before": x, "after": L.ReLU(name="act")(x), "input": L.ReLU(name="first")(inputs)})
    to_editable(model, tmp_path / "m.tflite")
    network = TFLiteNetwork(tmp_path / "m.tflite")
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    images = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype("float32")
    expected = model(images)
    before, after = np.asarray(expected["before"]), np.asarray(expected["after"])
    for activation, wanted in (("relu", after), ("identity", before)):
        data = network.edit({"act": activation, "first": activation})
        # A ReLU is not fused into an operator whose own output is wanted, too.
        names = [operator_name(read_model(data), operator) for operator in read_model(data).subgraphs[0].operators]
        assert names.count("RELU") == (2 if activation == "relu" else 0)
        outputs = litert.Interpreter(model_content=data).get_signature_runner("serving_default")(
            **{signature_input(data): images}
        )
        np.testing.assert_allclose(outputs["before"], before, atol=1e-5)
        np.testing.assert_allclose(outputs["after"], wanted, atol=1e-5)
        np.testing.assert_array_equal(outputs["input"], np.maximum(images, 0) if activation == "relu" else images)


def signature_input(data):
    return read_model(data).signatureDefs[0].inputs[0].name.decode()


def test_save_writes_the_edit_and_returns_its_hash(editable, tmp_path):
    network = TFLiteNetwork(editable)
    digest = network.save(tmp_path / "m.tflite", {"dense": "gelu"})
    data = (tmp_path / "m.tflite").read_bytes()
    assert data == network.edit({"dense": "gelu"})
    assert digest == hashlib.sha256(data).hexdigest()


def test_save_to_a_place_that_cannot_be_written(editable, tmp_path):
    with pytest.raises(InputError, match="Expected a place that can be written. Received: .*missing"):
        TFLiteNetwork(editable).save(tmp_path / "missing" / "m.tflite", {})
    (tmp_path / "m.tflite").mkdir()
    with pytest.raises(InputError, match="Expected a place that can be written"):
        TFLiteNetwork(editable).save(tmp_path / "m.tflite", {})
    assert [path.name for path in tmp_path.iterdir()] == ["m.tflite"]


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ({"after_con": "relu"}, "Expected sites of this model, which has 20. Received: 'after_con'.*'after_conv'"),
        ({"dense": "swoosh"}, "Received: 'swoosh'"),
        ({"dense": "mish"}, "Expected an activation that TFLite graph editing knows .*relu.*Received: 'mish'"),
        ({"dense": "prelu"}, "Received: 'prelu'"),
    ],
)
def test_assignments_that_cannot_be_used(assignment, message, editable):
    with pytest.raises(InputError, match=message):
        TFLiteNetwork(editable).edit(assignment)


def test_aliases_are_accepted(editable):
    network = TFLiteNetwork(editable)
    assert network.edit({"dense": "Swish"}) == network.edit({"dense": "silu"})
    assert network.edit({"dense": "linear"}) == network.edit({"dense": "identity"})


def test_a_network_without_activations_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(2, 3), L.Softmax()])
    to_tflite(model, tmp_path / "m.tflite")
    with pytest.raises(InputError, match="Expected a network with activations to swap. Received: .*m.tflite"):
        TFLiteNetwork(tmp_path / "m.tflite")


def test_dynamic_shapes_are_refused(editable):
    model = read_model(editable)
    model.subgraphs[0].tensors[0].shapeSignature = np.array([-1, 16, 16, 3], np.int32)
    with pytest.raises(
        InputError, match=r"static shapes. Received: the given bytes.*shape \[-1, 16, 16, 3\].*to_tflite"
    ):
        TFLiteNetwork(pack_model(model))


def test_editing_imports_neither_keras_nor_tensorflow(editable, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(editable)
    code = (
        "import sys; from keras_actnas.export import TFLiteNetwork; "
        f"TFLiteNetwork({str(path)!r}).save({str(tmp_path / 'edited.tflite')!r}, {{'dense': 'gelu'}}); "
        "print(sorted({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"
    assert (tmp_path / "edited.tflite").read_bytes() == TFLiteNetwork(editable).edit({"dense": "gelu"})
