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
import yaml
from PIL import Image, ImageDraw

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


COLOURS = [(230, 40, 40), (40, 60, 230)]


def draw_set(folder, images=(8, 4), size=64, classes=2, seed=0):
    """Writes a detection data set, rectangles in the colours of their classes, in the format of YOLO."""
    random = np.random.default_rng(seed)
    for split, count in zip(("train", "val"), images, strict=True):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            image = Image.new("RGB", (size, size), tuple(random.integers(0, 80, 3).tolist()))
            rows = []
            for _ in range(2):
                kind = int(random.integers(classes))
                width, height = random.integers(size // 4, size // 2, 2)
                x, y = random.integers(0, size - width), random.integers(0, size - height)
                ImageDraw.Draw(image).rectangle([x, y, x + width, y + height], fill=COLOURS[kind])
                box = (x + width / 2, y + height / 2, width, height)
                rows.append(" ".join([str(kind), *(f"{value / size:.6f}" for value in box)]))
            image.save(folder / "images" / split / f"{number}.png")
            (folder / "labels" / split / f"{number}.txt").write_text("\n".join(rows) + "\n")
    names = {number: f"colour {number}" for number in range(classes)}
    content = {"path": str(folder), "train": "images/train", "val": "images/val", "names": names}
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """The data.yaml of a small data set."""
    return draw_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="session")
def tiny_yaml(tmp_path_factory):
    """The YAML of a YOLOv5n that is an eighth as wide, for two classes."""
    from ultralytics.utils import ROOT

    content = yaml.safe_load((ROOT / "cfg/models/v5/yolov5.yaml").read_text())
    content.update(nc=2, scales={"n": [0.33, 0.0625, 1024]})
    path = tmp_path_factory.mktemp("networks") / "yolov5n.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="session")
def weights(tiny_yaml, tmp_path_factory):
    """A checkpoint of it, as Ultralytics saves one."""
    from ultralytics import YOLO

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "given.pt"
    YOLO(tiny_yaml).save(path)
    return path


@pytest.fixture(scope="session")
def train_settings():
    """Settings of Ultralytics for training that takes a second an epoch."""
    return {"imgsz": 64, "batch": 4, "workers": 0, "plots": False, "amp": False, "verbose": False}
