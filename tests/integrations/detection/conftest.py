"""One YOLO with the same weights everywhere: Ultralytics, Keras, .tflite; and photographs to find things on."""

import keras
import numpy as np
import pytest
import torch
import ultralytics
from PIL import Image
from ultralytics.utils.metrics import box_iou

from keras_actnas.export import to_tflite
from keras_actnas.integrations import from_ultralytics, read_photograph
from keras_actnas.integrations.detection.letterbox import Letterbox

PHOTOS = sorted(ultralytics.utils.ASSETS.glob("*.jpg"))

NUM_CLASSES = 5
SIZE = 320


def letterboxed(path):
    """A photograph as the network takes it, 0 .. 255."""
    image = read_photograph(path)
    return Letterbox(image.shape[:2], (SIZE, SIZE)).apply(image)


def random_yolo(seed=0):
    """A yolov5n of Ultralytics whose random weights find many things: every map of the head is spread out."""
    torch.manual_seed(seed)
    yolo = ultralytics.YOLO("yolov5n.yaml")
    yolo.model = ultralytics.nn.tasks.DetectionModel("yolov5n.yaml", nc=NUM_CLASSES, verbose=False)
    photos = [letterboxed(path) for path in PHOTOS]
    pixels = torch.from_numpy(np.stack(photos).transpose(0, 3, 1, 2)).float() / 255
    with torch.no_grad():
        for module in yolo.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.8, 1.2)
                module.bias.uniform_(-0.3, 0.3)
                module.momentum = None  # The statistics become those of the photographs.
        yolo.model.train()(pixels)
        yolo.model.eval()
        head = yolo.model.model[-1]
        near = -0.4 * torch.arange(16.0).repeat(4)  # Most boxes are a few cells wide.
        for branches, spread, mean in ((head.cv2, 1, near), (head.cv3, 1.5, -6)):
            for branch in branches:
                seen = []
                hook = branch[2].register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(output))
                yolo.model(pixels)
                hook.remove()
                scale = spread / seen[0].std(dim=(0, 2, 3))
                branch[2].weight.mul_(scale[:, None, None, None])
                branch[2].bias.copy_(mean - scale * (seen[0].mean(dim=(0, 2, 3)) - branch[2].bias))
    return yolo


@pytest.fixture(scope="session")
def yolo():
    """A detector of Ultralytics."""
    return random_yolo()


@pytest.fixture(scope="session")
def assert_same():
    """Fails unless each detection has one of its class with an overlap of 0.99 and a score within 0.01, one to one."""

    def check(found, expected):
        assert len(found) == len(expected)
        if not len(found):
            return
        overlap = box_iou(torch.from_numpy(found.boxes), expected.xyxy).numpy()
        overlap[found.classes[:, None] != expected.cls.numpy()[None]] = 0
        overlap[np.abs(found.scores[:, None] - expected.conf.numpy()[None]) > 0.01] = 0
        assert overlap.max(axis=1).min() >= 0.99
        assert len(set(overlap.argmax(axis=1).tolist())) == len(found)

    return check


@pytest.fixture(scope="session")
def make_model(yolo):
    """Makes a Keras model with the weights of `yolo`."""

    def make(height=SIZE, width=SIZE, **options):
        return from_ultralytics(yolo, (height, width, 3), batch_size=1, **options)

    return make


@pytest.fixture(scope="session")
def model(make_model):
    """The same in Keras, with the maps of its head."""
    return make_model()


@pytest.fixture(scope="session")
def tflite(model, tmp_path_factory):
    """The same as .tflite."""
    path = tmp_path_factory.mktemp("tflite") / "yolo.tflite"
    to_tflite(model, path)
    return path


@pytest.fixture(scope="session")
def photo_data(yolo, tmp_path_factory):
    """A data.yaml of squares from the photographs, whose labels are some of what `yolo` finds in them, made smaller.

    Nothing that touches an edge: there Ultralytics compares boxes that go on behind it.
    """
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for photo in PHOTOS:
        image = folder / "images" / f"{photo.stem}.png"
        Image.open(photo).crop((80, 80, 720, 720)).save(image)
        found = yolo.predict(image, imgsz=SIZE, conf=0.3, iou=0.2, verbose=False)[0].boxes
        rows = np.column_stack([found.cls.numpy(), found.xywhn.numpy()])
        inside = (found.xyxyn.numpy() > 0.01).all(axis=1) & (found.xyxyn.numpy() < 0.99).all(axis=1)
        rows = rows[inside & (rng.random(len(rows)) < 0.5)]
        rows[:, 3:] *= rng.uniform(0.8, 1, (len(rows), 2))
        lines = [f"{int(row[0])} {' '.join(f'{value:.6f}' for value in row[1:])}" for row in rows]
        (folder / "labels" / f"{photo.stem}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = folder / "data.yaml"
    names = "".join(f"  {number}: thing {number}\n" for number in range(NUM_CLASSES))
    path.write_text(f"path: {folder}\ntrain: images\nval: images\nnames:\n{names}", encoding="utf-8")
    return path


def small_model():
    """A network without training that finds things: three maps of averaged pixels, each through one convolution."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input(batch_shape=(1, 64, 96, 3), name="images")
    maps = []
    for stride in (8, 16, 32):
        x = keras.layers.AveragePooling2D(stride)(inputs)
        initializer = keras.initializers.RandomNormal(stddev=3)
        box = keras.layers.Conv2D(64, 1, kernel_initializer=initializer)(x)
        rare = keras.initializers.Constant(-1)
        score = keras.layers.Conv2D(3, 1, kernel_initializer=initializer, bias_initializer=rare)(x)
        maps.append((box, score))
    return keras.Model(inputs, [keras.layers.Concatenate()(pair) for pair in maps], name="small")


@pytest.fixture(scope="session")
def small():
    """A small network with three classes, for 64 x 96 pixels."""
    return small_model()


@pytest.fixture(scope="session", params=["float32", "int8"])
def small_tflite(request, small, tmp_path_factory):
    """The same as .tflite."""
    path = tmp_path_factory.mktemp("tflite") / f"{request.param}.tflite"
    images = np.random.default_rng(0).random((8, 64, 96, 3), np.float32) if request.param == "int8" else None
    to_tflite(small, path, request.param, images)
    return path
