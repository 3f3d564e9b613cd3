"""Reading and writing the object form of a .tflite file (a flatbuffer with identifier TFL3)."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from keras_actnas.core.errors import InputError, MissingDependencyError

IDENTIFIER = b"TFL3"

BUNDLED_SCHEMA = "keras_actnas.export.schema_py_generated"
"""A bundle for a device carries the schema along under this name; elsewhere there is no such module."""


class _Whole(bytearray):
    """Bytes of a file; a slice that goes beyond their end is an error and not merely shorter."""

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        if isinstance(key, slice) and len(part) != key.stop - key.start:
            raise ValueError(f"a text ends at byte {key.stop} of {len(self)}")
        return part


@functools.cache
def schema() -> ModuleType:
    """Returns the generated flatbuffer schema of TFLite, from whichever package here ships it."""
    for module in (BUNDLED_SCHEMA, "ai_edge_litert.schema_py_generated", "tensorflow.lite.python.schema_py_generated"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(module)
    raise MissingDependencyError("ai-edge-litert", "bench", "Reading .tflite files")


def read_model(source: str | os.PathLike[str] | bytes) -> Any:
    """Returns the `ModelT` object form of a .tflite file or of its bytes.

    Raises:
      InputError: The file is missing, truncated, or not a .tflite.
    """
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise InputError(f"Expected a .tflite file. Received: {name} ({error.strerror}).") from error
    if data[4:8] != IDENTIFIER:
        raise InputError(
            f"Expected a .tflite file (identifier TFL3). Received: {name}, {len(data)} bytes of something else."
        )
    reader = schema().ModelT
    try:
        model = reader.InitFromPackedBuf(_Whole(data), 0)
        complete = bool(model.subgraphs and model.buffers and model.operatorCodes)
        for subgraph in model.subgraphs or []:
            for holder in [subgraph, *subgraph.operators]:  # A list without entries need not be in the file.
                holder.inputs = holder.inputs if holder.inputs is not None else np.zeros(0, np.int32)
                holder.outputs = holder.outputs if holder.outputs is not None else np.zeros(0, np.int32)
    except Exception as error:  # The generated readers raise whatever the damage leads them to.
        raise InputError(f"Expected a whole .tflite file. Received: {name}, truncated or damaged ({error}).") from error
    if not complete:
        raise InputError(f"Expected a .tflite file with a graph. Received: {name}, without one.")
    return model


def as_model(source: Any) -> Any:
    """Returns a `ModelT` as it is, and reads one from anything else; raises what `read_model` does."""
    return source if isinstance(source, schema().ModelT) else read_model(source)


def pack_model(model: Any) -> bytes:
    """Returns the bytes of a .tflite file for a `ModelT`."""
    import flatbuffers

    # Started at about its final size, the builder need not grow (and copy) step by step.
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(size + (1 << 20))
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


@functools.cache
def operator_names() -> dict[int, str]:
    """Returns builtin operator code -> name, such as 3 -> "CONV_2D"."""
    return {code: name for name, code in vars(schema().BuiltinOperator).items() if isinstance(code, int)}


def operator_code(model: Any, name: str, version: int) -> int:
    """Returns the index of a builtin operator's code; `model.operatorCodes` gets it, with `version`, if it is new."""
    number = next(code for code, known in operator_names().items() if known == name)
    for position, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == number:
            return position
    code = schema().OperatorCodeT()
    code.builtinCode = number
    code.deprecatedBuiltinCode = min(number, schema().BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
    code.version = version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def operator_name(model: Any, operator: Any) -> str:
    """Returns the name of an operator of `model`: the builtin's, or the custom code (`FlexErf`)."""
    code = model.operatorCodes[operator.opcodeIndex]
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    if builtin == schema().BuiltinOperator.CUSTOM:
        return (code.customCode or b"CUSTOM").decode()
    return operator_names().get(builtin, f"BUILTIN_{builtin}")
