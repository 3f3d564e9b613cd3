"""The most memory that tensors alive at the same time have."""

import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.export import peak_tensor_memory, to_tflite
from keras_actnas.export.schema import operator_code, pack_model, read_model, schema


def graph(tensors, operators, inputs, outputs):
    """Returns a `ModelT`.

    Args:
      tensors: Name -> (number of elements, type), or with a third item: "constant" or "variable".
      operators: (names of inputs, None for an optional one that is missing; names of outputs).
      inputs: Names of the graph's inputs.
      outputs: Names of its outputs.
    """
    fb = schema()
    model, subgraph = fb.ModelT(), fb.SubGraphT()
    model.version, model.operatorCodes, model.buffers, model.subgraphs = 3, [], [fb.BufferT()], [subgraph]
    number = {None: -1, **{name: index for index, name in enumerate(tensors)}}
    subgraph.tensors, subgraph.operators = [], []
    for name, (size, kind, *role) in tensors.items():
        tensor = fb.TensorT()
        tensor.name, tensor.shape, tensor.type = (
            name.encode(),
            np.asarray([1, size], np.int32),
            getattr(fb.TensorType, kind),
        )
        tensor.isVariable = role == ["variable"]
        tensor.buffer = len(model.buffers)
        buffer = fb.BufferT()
        buffer.data = np.zeros(size * 4, np.uint8) if role == ["constant"] else None
        model.buffers.append(buffer)
        subgraph.tensors.append(tensor)
    for reads, writes in operators:
        operator = fb.OperatorT()
        operator.opcodeIndex = operator_code(model, "CUSTOM", 1)
        operator.inputs = np.asarray([number[name] for name in reads], np.int32)
        operator.outputs = np.asarray([number[name] for name in writes], np.int32)
        subgraph.operators.append(operator)
    subgraph.inputs = np.asarray([number[name] for name in inputs], np.int32)
    subgraph.outputs = np.asarray([number[name] for name in outputs], np.int32)
    return model


BLOCK = {"x": (100, "FLOAT32"), "a": (30, "FLOAT32"), "b": (50, "FLOAT32"), "c": (20, "FLOAT32"), "y": (1, "FLOAT32")}


def test_a_residual_block_by_hand():
    # x 100, a 30 | a 30, b 50 | a 30 (still read by the sum), b 50, c 20 | a, c, y. The first pair is the largest.
    operators = [(["x"], ["a"]), (["a"], ["b"]), (["b"], ["c"]), (["a", "c"], ["y"])]
    assert peak_tensor_memory(graph(BLOCK, operators, ["x"], ["y"])) == 4 * 130
    # A small input: then it is the three.
    small = {**BLOCK, "x": (10, "FLOAT32")}
    assert peak_tensor_memory(graph(small, operators, ["x"], ["y"])) == 4 * 100


def test_a_silu_holds_three_tensors_and_a_fused_relu_one():
    tensors = {name: (size, "FLOAT32") for name, size in (("x", 1), ("pre", 64), ("gate", 64), ("post", 64))}
    silu = [(["x"], ["pre"]), (["pre"], ["gate"]), (["pre", "gate"], ["post"])]
    assert peak_tensor_memory(graph(tensors, silu, ["x"], ["post"])) == 4 * 3 * 64
    assert peak_tensor_memory(graph(tensors, [(["x"], ["post"])], ["x"], ["post"])) == 4 * 65


def test_outputs_live_to_the_end():
    operators = [(["x"], ["a"]), (["x"], ["b"]), (["b"], ["c"]), (["c"], ["y"])]
    assert peak_tensor_memory(graph(BLOCK, operators, ["x"], ["y", "a"])) == 4 * (100 + 30 + 50)
    small = {**BLOCK, "x": (10, "FLOAT32")}
    assert peak_tensor_memory(graph(small, operators, ["x"], ["y", "a"])) == 4 * (30 + 50 + 20)
    assert peak_tensor_memory(graph(small, operators, ["x"], ["y"])) == 4 * (50 + 20)


def test_inputs_live_from_the_start():
    # The second input is read by the last operator only.
    operators = [(["a"], ["b"]), (["b"], ["c"]), (["c", "x"], ["y"])]
    assert peak_tensor_memory(graph(BLOCK, operators, ["a", "x"], ["y"])) == 4 * (30 + 50 + 100)


def test_what_nobody_reads_lives_while_it_is_written():
    assert peak_tensor_memory(graph(BLOCK, [(["a"], ["b", "x"]), (["b"], ["y"])], ["a"], ["y"])) == 4 * (30 + 50 + 100)


def test_constants_do_not_count_and_variables_always_do():
    tensors = {**BLOCK, "weights": (500, "FLOAT32", "constant"), "state": (70, "FLOAT32", "variable")}
    operators = [(["x", "weights", None], ["a"]), (["a", "state"], ["c"]), (["c"], ["y"])]
    assert peak_tensor_memory(graph(tensors, operators, ["x"], ["y"])) == 4 * (130 + 70)


@pytest.mark.parametrize(
    ("kind", "size"),
    [("INT8", 9), ("UINT8", 9), ("BOOL", 9), ("INT16", 18), ("FLOAT16", 18), ("INT32", 36), ("INT64", 72),
     ("FLOAT64", 72), ("COMPLEX64", 72), ("COMPLEX128", 144), ("INT4", 5), ("STRING", 0)],
)  # fmt: skip
def test_types(kind, size):
    assert peak_tensor_memory(graph({"x": (9, kind)}, [], ["x"], ["x"])) == size


def test_files_bytes_and_objects_are_alike(tmp_path):
    model = graph(BLOCK, [(["x"], ["a"]), (["a"], ["y"])], ["x"], ["y"])
    data = pack_model(model)
    (tmp_path / "m.tflite").write_bytes(data)
    assert peak_tensor_memory(data) == peak_tensor_memory(model) == peak_tensor_memory(tmp_path / "m.tflite") == 4 * 130
    with pytest.raises(InputError, match="Expected a .tflite file"):
        peak_tensor_memory(tmp_path / "missing.tflite")


def test_it_is_what_tflite_allots(tmp_path):
    """TFLite's own arena, asked for the addresses of the tensors; it keeps the input to the end."""
    keras = pytest.importorskip("keras")
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 1)(inputs)
    y = keras.layers.Conv2D(4, 1)(keras.layers.Conv2D(16, 1)(x))
    to_tflite(keras.Model(inputs, keras.layers.Concatenate()([x, y])), tmp_path / "m.tflite")
    interpreter = litert.Interpreter(
        str(tmp_path / "m.tflite"),
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    subgraph = read_model(tmp_path / "m.tflite").subgraphs[0]
    computed = {int(t) for t in subgraph.inputs} | {int(t) for o in subgraph.operators for t in o.outputs}
    arrays = [interpreter.tensor(tensor)() for tensor in computed]
    start = min(array.ctypes.data for array in arrays)
    arena = max(array.ctypes.data + array.nbytes for array in arrays) - start
    assert arena == peak_tensor_memory(tmp_path / "m.tflite") + 32 * 32 * 3 * 4
