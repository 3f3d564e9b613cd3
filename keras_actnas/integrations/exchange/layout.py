"""What an Ultralytics network is made of, read off its modules: the layout that builds it in Keras.

Modules are told apart by the names of their classes, so that it does not matter whether they are Ultralytics' own or
what `checkpoint` puts in their place. What shapes of weights show (channels, kernel sizes, groups) is
checked where weights are transferred; here, what they do not show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from keras_actnas.core.anchors import BINS, STRIDES
from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.integrations.torch_activations import torch_activation_name
from keras_actnas.integrations.torch_import import nn
from keras_actnas.models.yolo_blocks import BN_EPSILON
from keras_actnas.models.yolo_families import Layout, Row

_SHOWN = 8
_PREVIOUS = -1
# How the names of the heads begin.
_OTHER_TASKS = {
    "Segment": "segmentation",
    "Pose": "pose estimation",
    "OBB": "oriented boxes",
    "Classify": "classification",
}


def read_layout(network: nn.Module) -> Layout:
    """Returns the layout of a detection network of the YOLOv5u, YOLOv8 or YOLO11 family.

    Args:
      network: Ultralytics' `DetectionModel`, or what `read_checkpoint` returns.

    Raises:
      InputError: The network is for another task, or is not made of these families' blocks; the message names every
        module that is not supported.
    """
    try:
        return _read(network)
    except (AttributeError, IndexError, TypeError) as error:  # A module that has not what Ultralytics gives it.
        raise InputError(
            f"Expected a network as Ultralytics makes it. Received: one whose modules differ ({error})."
        ) from error


def _read(network: nn.Module) -> Layout:
    *body, head = network.model
    check_task(_kind(head))
    problems = [f"model.{index} ({problem})" for index, module in enumerate(body) for problem in _row_problems(module)]
    problems += [f"model.{len(body)} ({problem})" for problem in _head_problems(head)]
    problems += list(_inner_problems(network, body))
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError(
            "Expected a detection network of YOLOv5u, YOLOv8 or YOLO11 blocks with three maps (strides 8, 16, 32). "
            f"Received one with {'; '.join(problems[:_SHOWN])}{more}."
        )
    separable = isinstance(head.cv3[0][0], nn.Sequential)
    return Layout(tuple(_ROWS[_kind(module)](module) for module in body), tuple(head.f), separable)


def read_activations(network: nn.Module) -> Assignment:
    """Returns the activation of every convolution that can have one, by module path; `identity` where there is none.

    Raises:
      InputError: Activations without a name here; the message names their modules.
    """
    found, unknown = {}, []
    for path, module in network.named_modules(remove_duplicate=False):
        if path.endswith(".act") and ".act." not in path:
            try:
                found[path] = torch_activation_name(module)
            except InputError:
                unknown.append(f"{path} ({_kind(module)})")
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise InputError(f"Expected activations with a name here. Received: {'; '.join(unknown[:_SHOWN])}{more}.")
    return Assignment(found)


def check_task(head: str) -> None:
    """Raises `InputError` when a head, by the name of its class, is one for another task than detection."""
    for kind, task in _OTHER_TASKS.items():
        if head.startswith(kind):
            raise InputError(f"Expected a network for detection. Received: one for {task} (its head is {head}).")


def _kind(module: Any) -> str:
    return type(module).__name__


def _conv(module: Any) -> Row:
    conv = module.conv
    return Row("conv", conv.out_channels, kernel=conv.kernel_size[0], stride=conv.stride[0])


def _csp(block: str) -> Callable[[Any], Row]:
    def read(module: Any) -> Row:
        channels = module.cv3.conv.out_channels if block == "c3" else module.cv2.conv.out_channels
        # Of C2f and its kin, the first convolution makes both halves.
        hidden = module.cv1.conv.out_channels // (1 if block == "c3" else 2)
        inner = module.m[0]
        nested = _kind(inner) == "C3k"
        add = getattr(inner.m[0] if nested else inner, "add", True)
        return Row(block, channels, len(module.m), shortcut=add, expansion=hidden / channels, nested=nested)

    return read


_ROWS: dict[str, Callable[[Any], Row]] = {
    "Conv": _conv,
    "C3": _csp("c3"),
    "C2f": _csp("c2f"),
    "C3k2": _csp("c3k2"),
    "C2PSA": _csp("c2psa"),
    "SPPF": lambda module: Row("sppf", module.cv2.conv.out_channels),
    "Upsample": lambda _: Row("upsample"),
    "Concat": lambda module: Row("concat", skip=module.f[1]),
}

SUPPORTED = (*_ROWS, "Detect")
"""Kinds of modules that a network may be made of."""

# Kind of a block -> kinds of the blocks inside of it.
_INNER = {"C3": ("Bottleneck",), "C2f": ("Bottleneck",), "C3k2": ("Bottleneck", "C3k"), "C2PSA": ("PSABlock",)}


def _row_problems(module: Any) -> Iterator[str]:
    """Yields what keeps a module of the body from being a row."""
    kind = _kind(module)
    if kind not in _ROWS:
        yield kind
        return
    if kind == "Concat":
        if len(module.f) != 2 or module.f[0] != _PREVIOUS or module.f[1] < 0 or module.d != 1:
            yield f"Concat of {module.f}, where [-1, a row] is supported"
    elif module.f != _PREVIOUS:
        yield f"{kind} of row {module.f}, where the previous one is supported"
    if kind == "Upsample" and (float(module.scale_factor or 0) != 2 or module.mode != "nearest"):
        yield f"Upsample by {module.scale_factor}, {module.mode}"
    if kind == "SPPF":
        pool = (module.m.kernel_size, getattr(module, "n", 3), getattr(module, "add", False))
        if pool != (5, 3, False):
            yield f"SPPF with kernel size, poolings and shortcut {pool}"
    if kind in _INNER:
        inner = {_kind(block) for block in module.m}
        if not inner:
            yield f"{kind} without blocks inside"
        elif len(inner) > 1 or not inner <= set(_INNER[kind]):
            yield f"{kind} of {', '.join(sorted(inner))}"
        elif len({getattr(part, "add", None) for part in _adding(module)}) > 1:
            yield f"{kind} with and without shortcuts"


def _adding(module: Any) -> Iterator[Any]:
    """Yields the inner blocks of a block that may have a shortcut."""
    for block in module.m:
        yield from block.m if _kind(block) == "C3k" else [block]


def _head_problems(head: Any) -> Iterator[str]:
    """Yields what keeps a module from being the detection head."""
    if _kind(head) != "Detect":
        yield _kind(head)
        return
    strides = [float(stride) for stride in head.stride]
    if strides != list(STRIDES):
        yield f"Detect with strides {strides}"
    if head.reg_max != BINS:
        yield f"Detect with reg_max={head.reg_max}, where {BINS} is supported"
    if getattr(head, "one2one_cv2", None) is not None:
        yield "Detect that is end to end (one2one)"


def _inner_problems(network: nn.Module, body: list[Any]) -> Iterator[str]:
    """Yields convolutions, normalizations and attention that compute something else than shapes of weights show."""
    strided = {f"model.{index}.conv" for index, module in enumerate(body) if _kind(module) == "Conv"}
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            kernel, stride = module.kernel_size[0], module.stride[0]
            plain = stride > 1 or kernel % 2
            same = (
                module.padding == ((kernel - 1) // 2,) * 2 and module.dilation == (1, 1)
                and module.padding_mode == "zeros" and module.stride == (stride, stride)
            )  # fmt: skip
            if not plain or not same or (stride > 1 and path not in strided):
                yield f"{path} ({module})"
        elif isinstance(module, nn.BatchNorm2d) and abs(module.eps - BN_EPSILON) > 1e-9:
            yield f"{path} (BatchNorm with eps={module.eps}, where {BN_EPSILON} is supported)"
        elif _kind(module) == "PSABlock" and not getattr(module, "add", True):
            yield f"{path} (attention without shortcuts)"
        elif _kind(module) == "Attention" and module.num_heads != max(module.proj.conv.out_channels // 64, 1):
            yield f"{path} (attention with {module.num_heads} heads)"
