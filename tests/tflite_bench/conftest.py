import numpy as np
import pytest

from keras_actnas.export.schema import operator_code, pack_model, schema

SHAPE = (1, 4)


def _tensor(model, name, shape=SHAPE, kind="FLOAT32", data=None, signature=None):
    fb = schema()
    tensor = fb.TensorT()
    tensor.name, tensor.shape = name.encode(), np.asarray(shape, np.int32)
    tensor.type = getattr(fb.TensorType, kind)
    tensor.shapeSignature = None if signature is None else np.asarray(signature, np.int32)
    tensor.buffer = len(model.buffers)
    buffer = fb.BufferT()
    buffer.data = None if data is None else np.frombuffer(data.tobytes(), np.uint8)
    model.buffers.append(buffer)
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def _network(operators=("RELU",), kind="FLOAT32", shape=SHAPE, signature=None, options=None, constants=()):
    """Returns the bytes of a network that applies `operators` one after the other, each with the same `constants`."""
    fb = schema()
    model = fb.ModelT()
    model.version, model.description = 3, b"made by hand"
    model.operatorCodes, model.buffers, model.subgraphs = [], [fb.BufferT()], [fb.SubGraphT()]
    subgraph = model.subgraphs[0]
    subgraph.tensors, subgraph.operators = [], []
    current = _tensor(model, "input", shape, kind, signature=signature)
    subgraph.inputs = np.asarray([current], np.int32)
    for number, name in enumerate(operators):
        operator = fb.OperatorT()
        operator.opcodeIndex = operator_code(model, name, 1)
        others = [_tensor(model, f"constant{number}", c.shape, "FLOAT32", c) for c in constants]
        operator.inputs = np.asarray([*others, current], np.int32)
        current = _tensor(model, f"output{number}", SHAPE if constants else shape, "FLOAT32" if constants else kind)
        operator.outputs = np.asarray([current], np.int32)
        if options is not None:
            operator.builtinOptionsType, operator.builtinOptions = options
        subgraph.operators.append(operator)
    subgraph.outputs = np.asarray([current], np.int32)
    return pack_model(model)


@pytest.fixture(scope="session")
def network():
    """Returns the function that makes small networks without a converter."""
    return _network


@pytest.fixture
def relu_file(tmp_path):
    path = tmp_path / "relu.tflite"
    path.write_bytes(_network())
    return path


@pytest.fixture
def nan_file(tmp_path):
    # The logarithm of the logarithm of a number below 1.
    path = tmp_path / "nan.tflite"
    path.write_bytes(_network(("LOG", "LOG")))
    return path


@pytest.fixture
def gather_file(tmp_path):
    """A table of 4 values that is looked up at random indices, most of which it does not have."""
    fb = schema()
    data = _network(
        ("GATHER",),
        "INT32",
        options=(fb.BuiltinOptions.GatherOptions, fb.GatherOptionsT()),
        constants=[np.zeros(4, "float32")],
    )
    path = tmp_path / "gather.tflite"
    path.write_bytes(data)
    return path
