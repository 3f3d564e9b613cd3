"""Finds out whether a .tflite is whole, without the flatbuffers package.

A flatbuffer is written back to front: what a truncated file lacks is anything, weights first. Runtimes differ in what
they make of one; tflite_runtime 2.14 ends the process with a segmentation fault.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

Follow = Callable[[bytes, int], None]
"""Checks what lies at a position; raises `struct.error` when that is beyond the end."""


def check_whole(data: bytes) -> None:
    """Raises `ValueError` when a part of a .tflite lies beyond the end of `data`."""
    try:
        _MODEL(data, 0)
    except struct.error as error:
        raise ValueError(f"truncated or damaged, {len(data)} bytes are left of it") from error


def _unsigned(data: bytes, position: int) -> int:
    return int(struct.unpack_from("<I", data, position)[0])


def _reach(data: bytes, end: int) -> None:
    if end > len(data):
        raise struct.error


def _vector(item_size: int) -> Follow:
    """Follows the offset of a vector, or of a string, whose items have `item_size` bytes."""

    def follow(data: bytes, position: int) -> None:
        start = position + _unsigned(data, position)
        _reach(data, start + 4 + _unsigned(data, start) * item_size)

    return follow


def _vector_of(table: Follow) -> Follow:
    """Follows the offset of a vector of tables."""

    def follow(data: bytes, position: int) -> None:
        start = position + _unsigned(data, position)
        count = _unsigned(data, start)
        _reach(data, start + 4 + 4 * count)
        for item in range(count):
            table(data, start + 4 + 4 * item)

    return follow


def _table(**fields: tuple[int, Follow]) -> Follow:
    """Follows the offset of a table, and then those of its fields: name -> (number in the schema, what follows it)."""

    def follow(data: bytes, position: int) -> None:
        start = position + _unsigned(data, position)
        layout = start - struct.unpack_from("<i", data, start)[0]
        if layout < 0:
            raise struct.error
        layout_size, table_size = struct.unpack_from("<HH", data, layout)
        _reach(data, max(layout + layout_size, start + table_size))
        for number, kind in fields.values():
            entry = 4 + 2 * number
            offset = struct.unpack_from("<H", data, layout + entry)[0] if entry < layout_size else 0
            if offset:
                kind(data, start + offset)

    return follow


# What a .tflite (schema version 3) consists of. Options of operators differ; of those only the table itself is checked.
_BYTES = _vector(1)
_NUMBERS = _vector(4)
_OPTIONS = _table()
_CODE = _table(custom_code=(1, _BYTES))
_QUANTIZATION = _table(
    **{name: (number, _NUMBERS) for number, name in enumerate(("min", "max", "scale"))}, zero_point=(3, _vector(8))
)
_TENSOR = _table(
    shape=(0, _NUMBERS),
    name=(3, _BYTES),
    quantization=(4, _QUANTIZATION),
    sparsity=(6, _OPTIONS),
    signature=(7, _NUMBERS),
)
_OPERATOR = _table(
    inputs=(1, _NUMBERS),
    outputs=(2, _NUMBERS),
    options=(4, _OPTIONS),
    custom_options=(5, _BYTES),
    options_2=(12, _OPTIONS),
)
_SUBGRAPH = _table(
    tensors=(0, _vector_of(_TENSOR)),
    inputs=(1, _NUMBERS),
    outputs=(2, _NUMBERS),
    operators=(3, _vector_of(_OPERATOR)),
    name=(4, _BYTES),
)
_BUFFER = _table(data=(0, _BYTES))
_METADATA = _table(name=(0, _BYTES))
_TENSOR_MAP = _table(name=(0, _BYTES))
_SIGNATURE = _table(inputs=(0, _vector_of(_TENSOR_MAP)), outputs=(1, _vector_of(_TENSOR_MAP)), key=(2, _BYTES))
_MODEL = _table(
    codes=(1, _vector_of(_CODE)),
    subgraphs=(2, _vector_of(_SUBGRAPH)),
    description=(3, _BYTES),
    buffers=(4, _vector_of(_BUFFER)),
    metadata=(6, _vector_of(_METADATA)),
    signatures=(7, _vector_of(_SIGNATURE)),
)
