"""One .tflite in one interpreter."""

import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.export.schema import pack_model, read_model, schema
from keras_actnas.tflite_bench import TFLiteRunner, load_runtime

pytest.importorskip("ai_edge_litert")


@pytest.fixture(params=["ai_edge_litert", "tf.lite"])
def runtime(request):
    pytest.importorskip({"ai_edge_litert": "ai_edge_litert", "tf.lite": "tensorflow"}[request.param])
    return load_runtime(request.param)


def test_it_runs_and_times(runtime, relu_file):
    runner = TFLiteRunner(relu_file, runtime=runtime)
    assert 0 < runner.run() < 1000
    (output,) = runner.outputs()
    assert output.shape == (1, 4) and output.dtype == np.float32
    assert (output >= 0).all() and (output < 1).all() and output.std() > 0


def test_paths_and_bytes(relu_file):
    for model in (relu_file, str(relu_file), relu_file.read_bytes()):
        runner = TFLiteRunner(model)
        runner.run()
        assert runner.outputs()[0].shape == (1, 4)


def test_inputs_are_random_and_the_same_for_the_same_seed(relu_file):
    def output(seed):
        runner = TFLiteRunner(relu_file, seed=seed)
        runner.run()
        return runner.outputs()[0]

    np.testing.assert_array_equal(output(1), output(1))
    assert (output(1) != output(2)).any()


@pytest.mark.parametrize(("kind", "low", "high"), [("INT8", -128, 127), ("UINT8", 0, 255), ("INT32", -128, 255)])
def test_integer_inputs(kind, low, high, network):
    runner = TFLiteRunner(network(("SQUEEZE",), kind, shape=(1, 400)))
    runner.run()
    values = runner.outputs()[0]
    assert low <= values.min() < low + 20 and high - 20 < values.max() <= high


def test_outputs_are_copies(relu_file):
    runner = TFLiteRunner(relu_file)
    runner.run()
    first = runner.outputs()[0]
    first[:] = -1
    assert (runner.outputs()[0] >= 0).all()


@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
@pytest.mark.parametrize("threads", [1, 2])
def test_delegates_and_threads_reach_the_interpreter(delegate, threads, relu_file, monkeypatch):
    import dataclasses

    runtime, given = load_runtime("ai_edge_litert"), {}

    def interpreter(**options):
        given.update(options)
        return runtime.interpreter(**options)

    spied = dataclasses.replace(runtime, interpreter=interpreter)
    TFLiteRunner(relu_file, threads, delegate, spied).run()
    assert given["num_threads"] == threads
    assert given.get("experimental_op_resolver_type") == (runtime.plain_resolver if delegate == "none" else None)


def test_without_a_delegate_xnnpack_stays_out(network):
    import subprocess
    import sys

    code = (
        "import sys; from keras_actnas.tflite_bench import TFLiteRunner; "
        "TFLiteRunner(sys.stdin.buffer.read(), delegate=sys.argv[1]).run()"
    )
    for delegate, expected in (("xnnpack", True), ("none", False)):
        finished = subprocess.run(
            [sys.executable, "-c", code, delegate], input=network(), capture_output=True, check=True
        )
        assert (b"XNNPACK delegate" in finished.stderr) is expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"Expected a .tflite file \(identifier TFL3\). Received: .*bad.tflite"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "identifier TFL3"),
        (b"TFL3", "identifier TFL3"),
        (b"\x08\x00\x00\x00TFL3", "Expected a whole .tflite file. Received: .*bad.tflite, truncated"),
        (bytes(4) + b"TFL3" + bytes(64), "Expected a .*.tflite"),
    ],
)
def test_files_that_are_no_tflite(content, message, tmp_path):
    (tmp_path / "bad.tflite").write_bytes(content)
    with pytest.raises(InputError, match=message):
        TFLiteRunner(tmp_path / "bad.tflite")


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="Expected a .tflite file. Received: .*no.tflite .No such file"):
        TFLiteRunner(tmp_path / "no.tflite")
    with pytest.raises(InputError, match="Expected a .tflite file. Received: .*Is a directory"):
        TFLiteRunner(tmp_path)


def test_dynamic_shapes(network, runtime):
    with pytest.raises(InputError, match=r"static shapes. Received: the given bytes, whose input 'input.*\[-1, 4\]"):
        TFLiteRunner(network(signature=(-1, 4)), runtime=runtime)


def test_operators_that_the_runtime_lacks(network, runtime):
    with pytest.raises(
        InputError, match=f"{runtime.name} {runtime.version} can run. Received: the given bytes .*CALL"
    ) as info:
        TFLiteRunner(network(("CALL",)), runtime=runtime)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("kind", ["STRING", "BOOL"])
def test_inputs_that_are_no_numbers(kind, network):
    with pytest.raises(InputError, match="Expected numeric inputs. Received: the given bytes"):
        TFLiteRunner(network(("SQUEEZE",), kind))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_threads": 0}, "Expected num_threads of at least 1. Received: 0"),
        ({"num_threads": -2}, "Received: -2"),
        ({"delegate": "gpu"}, "Expected delegate to be one of xnnpack, none. Received: 'gpu'"),
    ],
)
def test_options_that_cannot_be_used(options, message, relu_file):
    with pytest.raises(InputError, match=message):
        TFLiteRunner(relu_file, **options)


def test_outputs_that_are_not_finite(nan_file, runtime):
    with pytest.raises(InputError, match="finite outputs. Received: 4 of 4 values NaN or infinite from .*nan.tflite"):
        TFLiteRunner(nan_file, runtime=runtime).warm_up(1)


def test_a_network_that_fails_when_it_runs(gather_file, runtime):
    with pytest.raises(InputError, match="runs on random inputs. Received: .*gather.tflite .*gather") as info:
        TFLiteRunner(gather_file, runtime=runtime).warm_up(1)
    assert "\n" not in str(info.value)


def test_it_knows_how_it_started(runtime, relu_file):
    runner = TFLiteRunner(relu_file, runtime=runtime)
    assert 0 < runner.init_ms < 10_000 and runner.first_ms is None
    times = runner.warm_up(3)
    assert len(times) == 3 and runner.first_ms == times[0]
    runner.run()
    assert runner.first_ms == times[0]


def test_partitions(runtime, network):
    data = network(("RELU", "LOG_SOFTMAX", "RELU"))  # XNNPACK lacks it, so it runs what is before and what is after.
    assert TFLiteRunner(data, runtime=runtime).partitions == 2
    assert TFLiteRunner(data, runtime=runtime, delegate="none").partitions == 0
    assert TFLiteRunner(network(), runtime=runtime).partitions == 1


@pytest.mark.parametrize("fault", [AttributeError, ValueError, KeyError, TypeError])
def test_a_runtime_that_does_not_tell_its_partitions(fault, relu_file, monkeypatch):
    runner = TFLiteRunner(relu_file)

    def fail(self):
        raise fault

    monkeypatch.setattr(type(runner._interpreter), "_get_ops_details", fail)
    assert runner.partitions is None


def test_warming_up_runs_at_least_once(relu_file, monkeypatch):
    runs = []
    monkeypatch.setattr(TFLiteRunner, "run", lambda self: runs.append(1) or 0.0)
    for number, expected in ((0, 1), (-3, 1), (1, 1), (5, 5)):
        runs.clear()
        TFLiteRunner(relu_file).warm_up(number)
        assert len(runs) == expected


def test_prediction_on_given_inputs(relu_file):
    runner = TFLiteRunner(relu_file)
    assert runner.input_shapes == runner.output_shapes == [(1, 4)]
    (output,) = runner.predict(np.asarray([[-1, 0, 0.5, 2]]))
    assert output.tolist() == [[0, 0, 0.5, 2]] and output.dtype == np.float32
    with pytest.raises(ValueError, match="zip"):
        runner.predict()


@pytest.mark.parametrize("kind", ["INT8", "UINT8"])
def test_prediction_of_a_quantized_network(network, kind):
    """Real numbers go in and come out; what is out of range becomes the nearest number that is not."""
    model = read_model(network(("RELU",), kind))
    zero = -28 if kind == "INT8" else 100
    for tensor in model.subgraphs[0].tensors:
        tensor.quantization = schema().QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = np.float32([0.5]), np.int64([zero])
    (output,) = TFLiteRunner(pack_model(model)).predict(np.asarray([[-1, 0.2, 0.3, 999.0]]))
    assert output.tolist() == [[0, 0, 0.5, 77.5]]
