"""ONNX Runtime as a device: networks in a process of their own, what fell back is said, and a search runs on it."""

import keras
import pytest

from keras_actnas.core import Assignment, InputError, load_proposals
from keras_actnas.devices import ONNXRuntimeDevice, Request, record
from keras_actnas.search import Search, SearchSettings, mixtures

from .conftest import device_model


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return device_model()


@pytest.fixture(scope="module")
def onnx_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    with ONNXRuntimeDevice() as device:
        assert "4 Sigmoid" in str(device.convert(model, path)) or "Sigmoid 4" in str(device.convert(model, path))
    return path


@pytest.fixture
def device():
    with ONNXRuntimeDevice("cpu", num_threads=1) as device:
        yield device


def test_candidates_are_measured_beside_the_reference(device, onnx_file, journal):
    network = device.open_network(onnx_file)
    rows = tuple(mixtures(network.reference, ("silu", "relu", "hard_swish"), 4))
    made = record(device, network, Request(rows, network.reference, runs=4, reopen=True), journal)
    for lines in made.values():
        (line,) = lines
        assert not line.failure
        assert len(line.samples) == len(line.reference_samples) == 4
        assert (line.conditions["runtime"], line.conditions["delegate"]) == ("onnxruntime", "cpu")
        assert line.conditions["providers"] == {"CPUExecutionProvider": sum(line.conditions["operators"].values())}
        assert line.conditions["fallback"] == {}
    relu = Assignment.uniform(network.reference, "relu")
    (line,) = record(device, network, Request((relu,), network.reference), journal)[relu]
    # Every ReLU is fused into its convolution.
    assert not {"Relu", "Sigmoid", "QuickGelu"} & set(line.conditions["operators"])


def test_a_file_that_is_none_is_a_failure(device, onnx_file):
    own = onnx_file.read_bytes()
    assert "Expected an ONNX file" in device.measure(b"nothing", own, 1).failure
    assert not device.measure(own, own, 1).failure


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("cpu", 0), "num_threads of at least 1"), (("gpu",), "Received: 'gpu'"), (("cuda",), "Received: 'cuda'")],
)
def test_devices_that_cannot_be(arguments, message):
    with pytest.raises(InputError, match=message):
        ONNXRuntimeDevice(*arguments)


def test_a_search_on_it(model, tmp_path):
    settings = SearchSettings(activations=("silu", "relu"), networks=8, runs=2, seeds=1, batch_size=4, constraints=())
    with ONNXRuntimeDevice() as device:
        result = Search(model, tmp_path / "run", settings, device=device).run()
    assert result.device == "onnxruntime:cpu"
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"reference.onnx", "best.onnx", "best.keras"} <= names
    assert load_proposals(tmp_path / "run" / "proposals.json")[0].measured["latency"].value > 0
