"""One ONNX file in one session of ONNX Runtime."""

import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.devices.onnx_providers import find_provider
from keras_actnas.devices.onnx_runner import ONNXRunner, summarize_execution

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
NODE = onnx.helper.make_node


def network(*nodes, kind=onnx.TensorProto.FLOAT, shape=(1, 4), **constants):
    """Returns the bytes of an ONNX file that computes `y` from `x`."""
    tensors = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = onnx.helper.make_graph(
        nodes,
        "made-by-hand",
        [onnx.helper.make_tensor_value_info("x", kind, shape)],
        [onnx.helper.make_empty_tensor_value_info("y")],
        tensors,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


def same(kind):
    return network(NODE("Identity", ["x"], ["y"]), kind=kind, shape=(1, 400))


@pytest.fixture(scope="module")
def convolutions():
    """Two convolutions, with a ReLU and a SiLU."""
    weights = np.random.default_rng(0).normal(0, 0.3, (16, 16, 3, 3)).astype("float32")
    return network(
        NODE("Conv", ["x", "w"], ["a"]),
        NODE("Relu", ["a"], ["b"]),
        NODE("Conv", ["b", "w"], ["c"]),
        NODE("Sigmoid", ["c"], ["d"]),
        NODE("Mul", ["c", "d"], ["y"]),
        shape=(1, 16, 8, 8),
        w=weights,
    )


def test_it_runs_and_times(convolutions):
    runner = ONNXRunner(convolutions)
    runner.warm_up(2)
    assert 0 < runner.run() < 1000
    (output,) = runner.outputs()
    assert output.shape == (1, 16, 4, 4) and output.dtype == np.float32 and output.std() > 0
    assert (runner.runtime.name, runner.runtime.version) == ("onnxruntime", onnxruntime.__version__)
    assert (runner.num_threads, runner.delegate) == (1, "cpu")


def test_paths_and_bytes(convolutions, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(convolutions)
    expected = ONNXRunner(convolutions).outputs()[0]
    for model in (path, str(path)):
        np.testing.assert_array_equal(ONNXRunner(model).outputs()[0], expected)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


def test_inputs_are_random_and_the_same_for_the_same_seed():
    def inputs(seed):
        return ONNXRunner(same(onnx.TensorProto.FLOAT), seed=seed).outputs()[0]

    np.testing.assert_array_equal(inputs(1), inputs(1))
    assert (inputs(1) != inputs(2)).any()
    assert (inputs(1) >= 0).all() and (inputs(1) < 1).all()


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("INT8", -128, 127), ("UINT8", 0, 255), ("INT32", -128, 255), ("INT64", -128, 255)]
)
def test_integer_inputs(kind, low, high):
    values = ONNXRunner(same(getattr(onnx.TensorProto, kind))).outputs()[0]
    assert low <= values.min() < low + 20 and high - 20 < values.max() <= high


def test_half_precision_inputs():
    assert ONNXRunner(same(onnx.TensorProto.FLOAT16)).outputs()[0].dtype == np.float16


def test_outputs_are_copies(convolutions):
    runner = ONNXRunner(convolutions)
    runner.outputs()[0][:] = 7
    assert (runner.outputs()[0] != 7).all()


def test_threads_and_provider_reach_the_session(convolutions, monkeypatch):
    given = {}

    def session(model, options, providers, **more):
        given.update(options=options, providers=providers, **more)
        return original(model, options, providers, **more)

    original = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    ONNXRunner(convolutions, num_threads=2)
    assert given["options"].intra_op_num_threads == 2
    assert given["options"].graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert given["providers"] == ["CPUExecutionProvider"] and given["enable_fallback"] == 0


def test_what_the_runtime_makes_of_a_network(convolutions):
    execution = summarize_execution(convolutions)
    assert execution == ONNXRunner(convolutions).execution
    # The ReLU is part of its convolution, the SiLU one operator.
    assert execution["operators"]["Conv"] == 2 and execution["operators"]["QuickGelu"] == 1
    assert not {"Relu", "Sigmoid", "Mul"} & set(execution["operators"])
    assert execution["providers"] == {"CPUExecutionProvider": sum(execution["operators"].values())}
    assert execution["fallback"] == {}


def test_what_falls_back_to_the_cpu_is_told(convolutions):
    # This provider, which most builds have, leaves all of these operators to the CPU.
    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no other provider")
    execution = summarize_execution(convolutions, "azure")
    assert execution["fallback"] == execution["operators"] != {}


def test_names_of_providers():
    assert find_provider("cpu") == find_provider("CPU") == find_provider("CPUExecutionProvider")
    with pytest.raises(InputError, match="Expected an execution provider of ONNX Runtime. Received: 'cdua'.*'cuda'"):
        find_provider("cdua")


@pytest.mark.parametrize(("name", "install"), [("cuda", "onnxruntime-gpu"), ("TensorrtExecutionProvider", "TensorRT")])
def test_a_provider_that_is_not_here(name, install, convolutions, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(InputError, match=f"installed here: cpu. Received: '{name}'. Install it: .*{install}"):
        ONNXRunner(convolutions, provider=name)


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_a_provider_that_does_not_start_is_not_replaced(convolutions, monkeypatch):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(InputError, match="provider 'cuda' to start. Received: a session with .'CPU.*onnxruntime-gpu"):
        ONNXRunner(convolutions, provider="cuda")


def test_outputs_that_are_not_finite():
    runner = ONNXRunner(network(NODE("Sub", ["x", "c"], ["a"]), NODE("Sqrt", ["a"], ["y"]), c=np.float32(2)))
    with pytest.raises(InputError, match="finite outputs. Received: 4 of 4 values NaN or infinite from the given"):
        runner.warm_up(1)


def test_warming_up_runs_at_least_once(convolutions, monkeypatch):
    runner, runs = ONNXRunner(convolutions), []
    monkeypatch.setattr(runner, "run", lambda: runs.append(1) or 0.0)
    for number, expected in ((0, 1), (-3, 1), (1, 1), (5, 5)):
        runs.clear()
        runner.warm_up(number)
        assert len(runs) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expected an ONNX file that onnxruntime .* can run on cpu. Received: the given bytes"),
        (b"TFL3" * 20, "Received: the given bytes"),
        (network(NODE("Nothing", ["x"], ["y"])), "Received: the given bytes .*Nothing"),
        (network(NODE("Relu", ["x"], ["y"]), shape=("n", 4)), r"static shapes. Received: .*'x' has shape \['n', 4\]"),
        (network(NODE("Identity", ["x"], ["y"]), kind=onnx.TensorProto.BOOL), "numeric inputs. Received: .*bool"),
        (network(NODE("Identity", ["x"], ["y"]), kind=onnx.TensorProto.STRING), "numeric inputs. Received: .*string"),
        (
            network(NODE("Gather", ["c", "x"], ["y"]), kind=onnx.TensorProto.INT32, c=np.ones(3)),
            "runs on random inputs",
        ),
    ],
)
def test_networks_that_cannot_be_run(content, message):
    with pytest.raises(InputError, match=message) as info:
        ONNXRunner(content)
    assert "\n" not in str(info.value)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="Received: .*missing.onnx"):
        ONNXRunner(tmp_path / "missing.onnx")


def test_options_that_cannot_be_used(convolutions):
    with pytest.raises(InputError, match="Expected num_threads of at least 1. Received: 0"):
        ONNXRunner(convolutions, num_threads=0)
