"""What cannot be trained is refused before anything is."""

import shutil

import pytest
import torch
import yaml
from ultralytics import YOLO

from keras_actnas.core import InputError
from keras_actnas.integrations import current_torch_assignment
from keras_actnas.integrations.training_inputs import (
    check_classes,
    check_data,
    check_network,
    check_settings,
    load_yolo,
)


@pytest.fixture
def edited(data, tmp_path):
    """Writes a copy of the data.yaml with some entries changed."""

    def write(**changes):
        content = {**yaml.safe_load(data.read_text()), **changes}
        path = tmp_path / "data.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        return path

    return write


def test_data_that_is_there(data, edited, tmp_path):
    assert check_data(data)["nc"] == 2
    folder = tmp_path / "of two words"
    shutil.copytree(data.parent / "images/train", folder / "images")
    shutil.copytree(data.parent / "labels/train", folder / "labels")
    listed = "".join(f"{image}\n" for image in sorted((folder / "images").iterdir()))
    (tmp_path / "train.txt").write_text(listed)
    assert check_data(edited(train=str(tmp_path / "train.txt")))["nc"] == 2  # A list in place of a folder.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "/nowhere"}, "images not found"),
        ({"train": "images/nothing"}, "to point to images. Received: .*images/nothing, which does not exist"),
        ({"train": "labels/train"}, "Expected images where .*data.yaml says for train"),
        ({"val": None}, "'val:' key missing"),
        ({"names": None}, "either 'names' or 'nc' are required"),
        ({"nc": 3}, "'names' length 2 and 'nc: 3' must match"),
        ({"names": ["one"]}, r"Expected classes from 0 to 0, since .*data.yaml names 1. Received: 1 in .*\.txt"),
    ],
)
def test_data_that_is_not(edited, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        check_data(edited(**changes))
    assert str(caught.value).isascii()


def test_no_data(tmp_path):
    with pytest.raises(InputError, match="Expected --data=data.yaml.*Received: none"):
        check_data(None)
    with pytest.raises(InputError, match="nowhere.yaml"):
        check_data(tmp_path / "nowhere.yaml")


def test_images_without_labels(edited, data, tmp_path):
    folder = tmp_path / "images" / "bare"
    folder.mkdir(parents=True)
    (folder / "0.png").write_bytes((data.parent / "images/train/0.png").read_bytes())
    with pytest.raises(InputError, match=r"Expected a label file for each image, such as .*labels/bare/0.txt"):
        check_data(edited(train=str(folder)))


def test_weights(weights, tmp_path):
    assert load_yolo(weights).task == "detect"
    with pytest.raises(InputError, match="nothing.pt, which does not exist"):
        load_yolo(tmp_path / "nothing.pt")
    with pytest.raises(InputError, match="FILE.pt or FILE.yaml"):
        load_yolo("best.onnx")
    with pytest.raises(InputError, match="Expected weights that Ultralytics can load"):
        load_yolo("yolov99n.yaml")
    (tmp_path / "damaged.pt").write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="Expected weights that Ultralytics can load"):
        load_yolo(tmp_path / "damaged.pt")
    torch.save({"weights": 1}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="Expected weights that Ultralytics can load"):
        load_yolo(tmp_path / "other.pt")
    with pytest.raises(InputError, match="Expected a network for detection. Received: yolov8n-seg.yaml, which is for"):
        load_yolo("yolov8n-seg.yaml")


def test_classes(weights, data):
    yolo, content = YOLO(weights), check_data(data)
    check_classes(yolo, content)
    check_classes(yolo, {"nc": 7}, new_classes=True)
    with pytest.raises(InputError, match="for the 7 classes of the data. Received: weights for 2.*--new_classes"):
        check_classes(yolo, {"nc": 7})


def test_networks(weights):
    yolo = YOLO(weights)
    sites = current_torch_assignment(yolo)
    check_network(yolo, "yolov5n", sites)
    check_network(yolo, "my own", sites)
    with pytest.raises(InputError, match="Expected weights of yolov5s, which the run is of. Received: weights of"):
        check_network(yolo, "yolov5s", sites)
    with pytest.raises(InputError, match="is the assignment for another model"):
        check_network(yolo, "my own", {**sites, "model.99.act": "relu"})
    with pytest.raises(InputError, match="with its 10 sites. Received: a network with 69, such as model"):
        check_network(yolo, "my own", dict(list(sites.items())[:10]))


def test_settings():
    check_settings({"lr0": 0.001, "mosaic": 0.0})
    with pytest.raises(InputError, match="Received: lr9. Did you mean 'lr"):
        check_settings({"lr9": 0.001})
    with pytest.raises(InputError, match="besides those that are set here. Received: resume"):
        check_settings({"resume": True})
    with pytest.raises(InputError, match="KEY=VALUE. Received: .*mosaic"):
        check_settings({"mosaic": "much"})
