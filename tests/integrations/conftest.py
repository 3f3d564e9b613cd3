"""Ultralytics as it is where there is no network, and torchvision where its compiled operators do not load."""

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

# Before ultralytics is imported: it writes its settings there, and looks for a font there before it downloads one.
_SETTINGS = Path(tempfile.mkdtemp(prefix="ultralytics-"))
(_SETTINGS / "Ultralytics").mkdir()
shutil.copy(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), _SETTINGS / "Ultralytics/Arial.ttf")
os.environ.update(YOLO_CONFIG_DIR=str(_SETTINGS), YOLO_OFFLINE="1", YOLO_AUTOINSTALL="false")


def nms(boxes, scores, threshold):
    """Non-maximum suppression: the boxes, best first, that overlap no better kept one by more than the threshold."""
    left = scores.argsort(descending=True, stable=True)
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        corner, size = torch.maximum(boxes[best, :2], boxes[left, :2]), torch.minimum(boxes[best, 2:], boxes[left, 2:])
        shared = (size - corner).clamp(min=0).prod(dim=1)
        area, own = (boxes[left, 2:] - boxes[left, :2]).prod(dim=1), (boxes[best, 2:] - boxes[best, :2]).prod()
        left = left[shared / (area + own - shared) <= threshold]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.int64)


def define_torchvision_operators():
    """Defines what `import torchvision` needs, unless the operators that it brings along load with this torch."""
    library = Path(importlib.util.find_spec("torchvision").origin).parent / "_C.so"
    try:
        torch.ops.load_library(str(library))
        return None
    except OSError:
        operators = torch.library.Library("torchvision", "DEF")
    operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    operators.impl("nms", nms, "CPU")
    import torchvision

    torchvision.extension._has_ops = lambda: True
    return operators


_OPERATORS = define_torchvision_operators()

# Importing ultralytics changes how NumPy prints numbers, in the examples of other tests as well.
_PRINTED = np.get_printoptions()
import ultralytics.utils  # noqa: E402, F401

np.set_printoptions(**_PRINTED)


@pytest.fixture(scope="session", autouse=True)
def _settings_are_removed():
    yield
    shutil.rmtree(_SETTINGS, ignore_errors=True)
