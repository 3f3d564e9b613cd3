"""How many multiply-accumulates an operation of a TensorFlow graph takes: products of static sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

FOREIGN = frozenset(
    [
        "Conv2DBackpropFilter",
        "Conv3DBackpropFilterV2",
        "CudnnRNN",
        "CudnnRNNV2",
        "CudnnRNNV3",
        "DepthwiseConv2dNativeBackpropFilter",
        "DepthwiseConv2dNativeBackpropInput",
        "EagerPyFunc",
        "PyFunc",
        "PyFuncStateless",
        "SparseMatMul",
        "SparseTensorDenseMatMul",
        "XlaCallModule",
        "XlaConvV2",
        "XlaDotV2",
    ]
)
"""Operations that multiply, or may, and whose multiply-accumulates are not counted here."""

_AFTER_DILATED = ("Squeeze", "Reshape", "BatchToSpaceND", "BatchToSpace")


def _size(tensor: Any) -> int | None:
    """Returns the number of elements of a tensor, None if it is not known."""
    return tensor.shape.num_elements()


def _product(*factors: int | None) -> int | None:
    return None if None in factors else math.prod(factors)  # type: ignore[arg-type]


def _positions(operation: Any) -> Any:
    """Returns what a convolution computes, as a tensor of its size.

    A dilated convolution is computed as a plain one over parts of the image that lie in the batch; put together again,
    they are cut to size, and TFLite, which has dilated convolutions, computes only that.
    """
    tensor = operation.outputs[0]
    while True:
        readers = tensor.consumers()
        if len(readers) != 1 or readers[0].type not in _AFTER_DILATED:
            return operation.outputs[0]
        tensor = readers[0].outputs[0]
        if readers[0].type.startswith("BatchToSpace"):
            return tensor


def _convolution(operation: Any) -> int | None:
    """Output positions and channels x kernel positions x input channels of a group."""
    return _product(_size(_positions(operation)), *operation.inputs[1].shape[:-1])


def _depthwise(operation: Any) -> int | None:
    return _product(_size(_positions(operation)), *operation.inputs[1].shape[:2])


def _transposed(operation: Any) -> int | None:
    """Input positions and channels x kernel positions x output channels."""
    return _product(_size(operation.inputs[2]), *operation.inputs[1].shape[:-1])


def _matrix_product(operation: Any) -> int | None:
    """Elements of the output x how many products are added for each."""
    transposed = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
    return _product(_size(operation.outputs[0]), operation.inputs[0].shape[-2 if transposed else -1])


def _einsum(operation: Any) -> int | None:
    """Elements of the output x the sizes of the labels that both operands have and the output has not."""
    if len(operation.inputs) < 2:
        return 0
    equation = operation.get_attr("equation").decode().replace(" ", "").replace("...", ".")
    terms, output = equation.split("->")
    first, second = terms.split(",")
    shape = operation.inputs[0].shape
    summed = (set(first) & set(second)) - set(output) - {"."}
    # Behind the dot, which stands for any number of dimensions, positions count from the end.
    places = {label: index - len(first) if "." in first[:index] else index for index, label in enumerate(first)}
    return _product(_size(operation.outputs[0]), *(shape[places[label]] for label in summed))


PRODUCTS: dict[str, Callable[[Any], int | None]] = {
    "BatchMatMul": _matrix_product,
    "BatchMatMulV2": _matrix_product,
    "BatchMatMulV3": _matrix_product,
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _transposed,
    "Conv3D": _convolution,
    "Conv3DBackpropInputV2": _transposed,
    "DepthwiseConv2dNative": _depthwise,
    "Einsum": _einsum,
    "MatMul": _matrix_product,
}
"""Type of an operation -> function that returns its multiply-accumulates, None where a size is not known."""
