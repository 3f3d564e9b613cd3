"""Looks a converted .tflite over for the ways in which a conversion silently goes wrong."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_actnas.export.graph_scan import GraphIndex
from keras_actnas.export.graph_summary import float_operators, operator_counts
from keras_actnas.export.schema import read_model

_VARIABLE_OPS = frozenset(["VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"])
_SHAPE_OPS = frozenset(["SHAPE", "STRIDED_SLICE", "PACK", "BROADCAST_TO", "FILL"])
_FOLDING = frozenset(["CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D", "FULLY_CONNECTED"])


@dataclasses.dataclass(frozen=True)
class ConversionReport:
    """What is in a converted .tflite.

    Attributes:
      path: The file.
      precision: "float32", "float16" or "int8".
      size: Size of the file in bytes.
      operators: Operator name -> how many, the most frequent first.
      errors: Faults that make the file unfit for measuring or deploying.
      warnings: What is slower or less portable than it need be.
      notes: What there is to know about the sites of an editable file.
    """

    path: str
    precision: str
    size: int
    operators: dict[str, int]
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        operators = ", ".join(f"{name} {count}" for name, count in self.operators.items())
        total = sum(self.operators.values())
        lines = [f"{self.path}: {self.precision}, {self.size / 1e6:.2f} MB, {total} operators ({operators})"]
        lines += [f"  error: {text}" for text in self.errors] + [f"  warning: {text}" for text in self.warnings]
        if not self.errors and not self.warnings:
            lines.append("  checked: static shapes, no variables, BatchNorm folded, no TILE or SHAPE operators")
        lines += [f"  note: {text}" for text in self.notes]
        return "\n".join(lines)


def check_conversion(data: bytes, path: str, precision: str) -> ConversionReport:
    """Returns what a converted .tflite holds and what is wrong with it.

    Args:
      data: Bytes of the .tflite.
      path: Name for the report.
      precision: What the conversion was asked for; an int8 graph is searched for operators that stayed in float.
    """
    model = read_model(data)
    ordered = operator_counts(model)
    subgraph = model.subgraphs[0]
    errors = [*_dynamic_shapes(subgraph), *_named(ordered, _VARIABLE_OPS, "variables were not frozen")]
    errors += [f"{name} needs the Flex delegate" for name in ordered if name.startswith("Flex")]
    warnings = list(_named(ordered, _SHAPE_OPS, "shapes are computed at run time; convert with a static batch"))
    warnings += _named(ordered, ["TILE"], "UpSampling2D becomes TILE; keras.layers.Resizing(nearest) does not")
    warnings += _unfolded_batch_norms(GraphIndex(model, subgraph))
    if precision == "int8":
        warnings += [f"{count} {name} stayed in float32" for name, count in float_operators(model).items()]
    return ConversionReport(path, precision, len(data), ordered, tuple(errors), tuple(warnings))


def _named(operators: dict[str, int], names: Any, why: str) -> list[str]:
    return [f"{operators[name]} {name}: {why}" for name in sorted(names) if name in operators]


def _dynamic_shapes(subgraph: Any) -> list[str]:
    found = []
    for tensor in subgraph.tensors:
        signature = tensor.shapeSignature
        if signature is not None and len(signature) and np.min(signature) < 0:
            found.append(
                f"tensor {(tensor.name or b'').decode()!r} has the dynamic shape {[int(n) for n in signature]}"
            )
    return found[:3]


def _unfolded_batch_norms(index: GraphIndex) -> list[str]:
    """Finds multiplications by one constant per channel right behind a convolution: BatchNorms that were not folded.

    Behind an activation, or where the convolution's output has another reader, a BatchNorm cannot be folded.
    """
    found = []
    for position, name in enumerate(index.names):
        if name != "MUL":
            continue
        operator = index.subgraph.operators[position]
        tensors = [int(tensor) for tensor in operator.inputs]
        factors = [tensor for tensor in tensors if index.constant(tensor) is not None]
        computed = [tensor for tensor in tensors if tensor not in factors and tensor in index.writer]
        if len(factors) != 1 or len(computed) != 1:
            continue
        writer = index.writer[computed[0]]
        before, options = index.names[writer], index.subgraph.operators[writer].builtinOptions
        if before not in _FOLDING or options.fusedActivationFunction or not index.private(computed[0], {position}):
            continue
        shape = [int(size) for size in index.subgraph.tensors[factors[0]].shape]
        if shape and shape[-1] == np.prod(shape) > 1:
            output = (index.subgraph.tensors[int(operator.outputs[0])].name or b"").decode()
            found.append(f"BatchNorm not folded into the {before} before {output!r}")
    return found[:3]
