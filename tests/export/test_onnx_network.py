"""Editing an ONNX file gives what converting the rebuilt model gives."""

import time

import keras
import numpy as np
import pytest

from keras_actnas.core import Assignment, InputError
from keras_actnas.export import ONNXNetwork, to_editable_onnx
from keras_actnas.export.onnx_files import operator_counts, read_onnx
from keras_actnas.surgery import replace_activations

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")
pytest.importorskip("tensorflow")
L = keras.layers
CANDIDATES = ("relu", "relu6", "silu", "hard_swish", "leaky_relu", "leaky_relu(0.3)", "gelu", "elu", "identity")


def session(data, optimized=None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run(data, image):
    opened = session(data)
    return opened.run(None, {opened.get_inputs()[0].name: image})


def assert_close(received, expected):
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, np.asarray(other), rtol=0, atol=1e-5 * np.ptp(np.asarray(other)))


@pytest.fixture(scope="module")
def editable(everything, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "everything.onnx"
    to_editable_onnx(everything, path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def network(editable):
    return ONNXNetwork(editable)


def in_keras(everything, assignment, image):
    outputs = replace_activations(everything, assignment)(image)
    return [outputs[name] for name in ("last", "map", "plain")]


def mixture(sites, seed, activations=CANDIDATES):
    random = np.random.default_rng(seed)
    return {site: str(random.choice(activations)) for site in sites}


@pytest.mark.parametrize("activation", CANDIDATES)
def test_one_activation_everywhere(activation, network, everything, image):
    assignment = Assignment.uniform(network.reference, activation)
    assert_close(run(network.edit(assignment), image), in_keras(everything, assignment, image))


@pytest.mark.parametrize("seed", range(4))
def test_mixtures(seed, network, everything, image):
    assignment = mixture(network.reference, seed)
    assert_close(run(network.edit(assignment), image), in_keras(everything, assignment, image))


def test_editing_equals_converting(network, everything, image, tmp_path):
    assignment = mixture(network.reference, 7, CANDIDATES[:-1])
    to_editable_onnx(replace_activations(everything, assignment), tmp_path / "converted.onnx")
    edited, converted = network.edit(assignment), (tmp_path / "converted.onnx").read_bytes()
    assert network.summarize(assignment)["operators"] == operator_counts(read_onnx(converted))
    for one, other in zip(run(edited, image), run(converted, image), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_edited_files_can_be_edited_again_and_keep_every_site(network):
    first, second = mixture(network.reference, 1), mixture(network.reference, 2)
    again = ONNXNetwork(network.edit(first))
    assert again.reference == Assignment(first)
    assert list(again.reference) == list(network.reference)
    assert [site.shape for site in again.sites] == [site.shape for site in network.sites]
    assert again.edit(second) == network.edit(second)
    assert network.edit({}) == network.edit(network.reference)


def test_no_constant_is_left_that_nothing_reads(network):
    for seed in range(3):
        model = read_onnx(network.edit(mixture(network.reference, seed)))
        onnx.checker.check_model(model, full_check=True)
        read = {tensor for node in model.graph.node for tensor in node.input}
        names = [tensor.name for tensor in model.graph.initializer]
        assert set(names) <= read and len(set(names)) == len(names)


def test_saving(network, tmp_path):
    import hashlib

    digest = network.save(tmp_path / "m.onnx", {"dense": "silu"})
    assert digest == hashlib.sha256((tmp_path / "m.onnx").read_bytes()).hexdigest()
    assert ONNXNetwork(tmp_path / "m.onnx").reference["dense"] == "silu"


def test_what_cannot_be_edited(network):
    with pytest.raises(InputError, match="sites of this model.*Received: 'dens'.*Did you mean 'dense'"):
        network.edit({"dens": "relu"})
    with pytest.raises(InputError, match="ONNX graph editing knows .relu, silu.*Received: 'mish'"):
        network.edit({"dense": "mish"})
    with pytest.raises(InputError, match="Expected the name of an activation"):
        network.edit({"dense": "rleu"})


# Files that were made elsewhere: one Conv, an activation in some spelling, another Conv.

NODE = onnx.helper.make_node
CONSTANTS = {"zero": 0, "half": 0.5, "one": 1, "three": 3, "six": 6, "sixth": 1 / 6, "root": 2**0.5}
HARD = [NODE("Add", ["pre", "three"], ["a"]), NODE("Clip", ["a", "zero", "six"], ["b"])]
SPELLED = {
    "relu": [NODE("Relu", ["pre"], ["post"])],
    "relu6": [NODE("Clip", ["pre", "zero", "six"], ["post"])],
    "silu": [NODE("Sigmoid", ["pre"], ["a"]), NODE("Mul", ["a", "pre"], ["post"])],
    "leaky_relu(0.01)": [NODE("LeakyRelu", ["pre"], ["post"])],
    "leaky_relu": [NODE("LeakyRelu", ["pre"], ["post"], alpha=0.1)],
    "elu": [NODE("Elu", ["pre"], ["post"])],
    "hard_swish": [NODE("HardSwish", ["pre"], ["post"])],
    "hard_swish/sigmoid": [
        NODE("HardSigmoid", ["pre"], ["a"], alpha=1 / 6, beta=0.5),
        NODE("Mul", ["pre", "a"], ["post"]),
    ],
    "hard_swish/keras": [*HARD, NODE("Mul", ["sixth", "b"], ["c"]), NODE("Mul", ["pre", "c"], ["post"])],
    "gelu": [NODE("Gelu", ["pre"], ["post"])],
    "gelu/erf": [
        NODE("Div", ["pre", "root"], ["a"]),
        NODE("Erf", ["a"], ["b"]),
        NODE("Add", ["one", "b"], ["c"]),
        NODE("Mul", ["c", "pre"], ["d"]),
        NODE("Mul", ["d", "half"], ["post"]),
    ],
}
NONE = {
    "tanh": [NODE("Tanh", ["pre"], ["post"])],
    "tanh gelu": [NODE("Gelu", ["pre"], ["post"], approximate="tanh")],
    "hard sigmoid": [*HARD, NODE("Mul", ["b", "sixth"], ["post"])],
    "gate": [NODE("Sigmoid", ["pre"], ["a"]), NODE("Mul", ["a", "x"], ["post"])],
    "sigmoid read elsewhere": [
        NODE("Sigmoid", ["pre"], ["a"]),
        NODE("Mul", ["pre", "a"], ["b"]),
        NODE("Add", ["a", "b"], ["post"]),
    ],
    "other bounds": [NODE("Clip", ["pre", "zero", "three"], ["post"])],
    "other slope": [NODE("Elu", ["pre"], ["post"], alpha=0.5)],
    "identity": [NODE("Identity", ["pre"], ["post"])],
}


def foreign(nodes, opset=20, shape=(1, 3, 8, 6), constant_nodes=False, dtype="float32"):
    random = np.random.default_rng(0)
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    tensors = [
        onnx.numpy_helper.from_array(random.normal(0, 0.5, (3, 3, 3, 3)).astype(dtype), "w"),
        *(onnx.numpy_helper.from_array(np.asarray(value, dtype), name) for name, value in CONSTANTS.items()),
    ]
    before = [NODE("Constant", [], [tensor.name], value=tensor) for tensor in tensors] if constant_nodes else []
    conv = {"pads": [1] * 4}
    graph = onnx.helper.make_graph(
        [*before, NODE("Conv", ["x", "w"], ["pre"], **conv), *nodes, NODE("Conv", ["post", "w"], ["y"], **conv)],
        "foreign",
        [onnx.helper.make_tensor_value_info("x", kind, shape)],
        [onnx.helper.make_tensor_value_info("y", kind, shape)],
        [] if constant_nodes else tensors,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=9)
    return model.SerializeToString()


@pytest.mark.parametrize("constant_nodes", [False, True])
@pytest.mark.parametrize("spelling", SPELLED)
def test_every_spelling_is_found_and_can_be_swapped(spelling, constant_nodes):
    activation = spelling.split("/")[0]
    data = foreign(SPELLED[spelling], constant_nodes=constant_nodes)
    network = ONNXNetwork(data)
    assert dict(network.reference) == {"post": activation}
    assert [site.shape for site in network.sites] == [(8, 6, 3)]
    image = np.random.default_rng(1).normal(0, 2, (1, 3, 8, 6)).astype("float32")
    assert_close(run(network.edit({}), image), run(data, image))
    for other, nodes in SPELLED.items():
        expected = foreign(nodes)
        assert_close(run(network.edit({"post": other.split("/")[0]}), image), run(expected, image))


@pytest.mark.parametrize("constant_nodes", [False, True])
def test_constants_of_a_replaced_activation_go_with_it(constant_nodes):
    network = ONNXNetwork(foreign(SPELLED["gelu/erf"], constant_nodes=constant_nodes))
    graph = read_onnx(network.edit({"post": "relu"})).graph
    assert [node.op_type for node in graph.node if node.op_type != "Constant"] == ["Conv", "Relu", "Conv"]
    left = [tensor.name for tensor in graph.initializer]
    assert left + [node.output[0] for node in graph.node if node.op_type == "Constant"] == ["w"]


@pytest.mark.parametrize("kind", NONE)
def test_what_is_no_activation(kind):
    with pytest.raises(InputError, match="activations to swap. Received: the given bytes, which has none"):
        ONNXNetwork(foreign(NONE[kind]))


@pytest.mark.parametrize(
    ("opset", "hard_swish", "gelu"), [(13, "HardSigmoid", "Erf"), (18, "HardSwish", "Erf"), (20, "HardSwish", "Gelu")]
)
def test_the_spelling_is_one_that_the_opset_has(opset, hard_swish, gelu):
    network = ONNXNetwork(foreign(SPELLED["relu"], opset=opset))
    assert hard_swish in network.summarize({"post": "hard_swish"})["operators"]
    assert gelu in network.summarize({"post": "gelu"})["operators"]
    for name in CANDIDATES:
        session(network.edit({"post": name}))


def test_constants_have_the_type_of_the_network():
    network = ONNXNetwork(foreign(SPELLED["relu"], dtype="float16"))
    image = np.random.default_rng(1).normal(0, 2, (1, 3, 8, 6)).astype("float16")
    for name in ("relu6", "gelu"):
        assert run(network.edit({"post": name}), image)[0].dtype == np.float16


def test_onnx_runtime_fuses_what_is_written(tmp_path):
    network = ONNXNetwork(foreign(SPELLED["relu"], opset=18))
    extra = {"silu": "QuickGelu", "gelu": "Gelu", "elu": "Elu"}
    for name in CANDIDATES:
        session(network.edit({"post": name}), tmp_path / "optimized.onnx")
        optimized = onnx.load(tmp_path / "optimized.onnx").graph.node
        names = {node.op_type for node in optimized} - {"Conv", "FusedConv", "ReorderInput", "ReorderOutput"}
        assert names == ({extra[name]} if name in extra else set())


def test_sites_are_named_by_their_nodes_or_tensors():
    nodes = [
        onnx.helper.make_node("Relu", ["pre"], ["a"], "twice"),
        onnx.helper.make_node("Elu", ["a"], ["b"], "twice"),
        onnx.helper.make_node("Relu", ["b"], ["post"]),
    ]
    assert list(ONNXNetwork(foreign(nodes)).reference) == ["twice", "twice#2", "post"]


def test_a_tensor_that_a_branch_reads_stays():
    branch = onnx.helper.make_graph(
        [NODE("Add", ["a", "pre"], ["taken"])], "branch", [], [onnx.helper.make_tensor_value_info("taken", 1, None)]
    )
    nodes = [
        *SPELLED["silu"],
        NODE("Cast", ["one"], ["condition"], to=onnx.TensorProto.BOOL),
        NODE("If", ["condition"], ["out"], then_branch=branch, else_branch=branch),
    ]
    with pytest.raises(InputError, match="which has none"):
        ONNXNetwork(foreign(nodes))


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="static shapes. Received: the given bytes, whose input 'x' has shape"):
        ONNXNetwork(foreign(SPELLED["relu"], shape=("batch", 3, 8, 6)))
    with pytest.raises(InputError, match="opset 11 or later. Received: the given bytes of opset 10"):
        ONNXNetwork(foreign(SPELLED["relu"], opset=10))
    with pytest.raises(InputError, match="Expected an ONNX file with operators"):
        ONNXNetwork(b"")
    with pytest.raises(InputError, match="Expected a whole ONNX file. Received: the given bytes"):
        ONNXNetwork(foreign(SPELLED["relu"])[:-40])
    with pytest.raises(InputError, match="Expected an ONNX file. Received: .*missing.onnx"):
        ONNXNetwork(tmp_path / "missing.onnx")


@pytest.mark.slow
def test_yolov5n(wake, tmp_path):
    from keras_actnas.models import YOLO

    model = wake(YOLO("yolov5n", input_shape=(64, 64, 3), num_classes=20), gain=1.15)
    report = to_editable_onnx(model, tmp_path / "m.onnx")
    assert report.warnings == () and report.operators["Transpose"] == 4
    network = ONNXNetwork(tmp_path / "m.onnx")
    assert len(network.sites) == 69 and network.sites[0].name == "model.0.act"
    image = np.random.default_rng(0).uniform(0, 1, (1, 64, 64, 3)).astype("float32")
    for seed in range(3):
        assignment = mixture(network.reference, seed)
        start = time.perf_counter()
        data = network.edit(assignment)
        print(f"an edit of yolov5n: {1e3 * (time.perf_counter() - start):.1f} ms")
        assert_close(run(data, image), keras.tree.flatten(replace_activations(model, assignment)(image)))
