"""Datasets in YOLO's format: what is read, and what is wrong with one, named by its path."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_actnas.core import InputError
from keras_actnas.integrations import read_dataset
from keras_actnas.integrations.detection.dataset import read_names


@pytest.fixture
def data(tmp_path):
    """Two images in a split `val`, one with two objects, one without."""
    for number in range(2):
        image = tmp_path / f"set/images/val/{number}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10)).save(image)
    label = tmp_path / "set/labels/val/0.txt"
    label.parent.mkdir(parents=True)
    label.write_text("1 0.5 0.5 0.5 0.25\n0 0.5 0.5 1 1\n\n1 0.5 0.5 0.5 0.25\n", encoding="utf-8")
    return write(tmp_path / "data.yaml", "path: set\nval: images/val\nnames: [cat, dog]\n")


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_read(data):
    dataset = read_dataset(data)
    assert dataset.names == ("cat", "dog") == read_names(data)
    (first, second) = dataset.truths.values()
    assert [path.name for path in dataset.truths] == ["0.png", "1.png"]
    assert first.classes.tolist() == [0, 1]  # The line that stands there twice is one object.
    np.testing.assert_allclose(first.corners(10, 20), [[0, 0, 20, 10], [5, 3.75, 15, 6.25]])
    assert len(second.classes) == 0 and second.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    "text",
    [
        "path: {set}\nval: images/val\nnames: {{1: dog, 0: cat}}\n",
        "path: set\nval: [images/val/0.png, images/val/1.png]\nnames: [cat, dog]\nnc: 2\n",
        "val: set/images/val\nnames: [cat, dog]\n",
        "path: set\nval: list.txt\nnames: [cat, dog]\n",
    ],
)
def test_other_ways_to_say_the_same(data, text):
    write(data.parent / "set/list.txt", f"./images/val/0.png\n\n{data.parent}/set/images/val/1.png\n")
    dataset = read_dataset(write(data, text.format(set=data.parent / "set")))
    assert dataset.names == ("cat", "dog")
    assert [len(truth.classes) for truth in dataset.truths.values()] == [2, 0]


def test_a_path_from_the_current_folder(data, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    moved = data.rename(tmp_path / "elsewhere/data.yaml")
    monkeypatch.chdir(tmp_path)
    assert len(read_dataset(moved).truths) == 2


def test_outlines_become_boxes(data):
    write(data.parent / "set/labels/val/1.txt", "1 0.1 0.2 0.3 0.2 0.2 0.6\n")
    truth = list(read_dataset(data).truths.values())[1]
    np.testing.assert_allclose(truth.boxes, [[0.2, 0.4, 0.2, 0.4]])


def test_names_by_number(data):
    assert read_names(write(data, "nc: 3\n")) == ("0", "1", "2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path: nowhere\nval: images/val\nnames: [a]\n", "`path:` in .*Received: 'nowhere'; tried .*/nowhere and .*"),
        ("path: set\nval: images/test\nnames: [a]\n", "images of the dataset at .*set/images/test, which does not"),
        ("path: set\nval: images\nnames: [a]\n", "Expected images .*in .*images. Received: a folder without any"),
        ("path: set\ntrain: images/val\nnames: [a]\n", "`val:` in .*Received: a file with the splits train"),
        ("path: set\nval: images/val\n", "`names:` in .*Received: None"),
        ("path: set\nval: images/val\nnames: cat\n", "`names:` in .*Received: 'cat'"),
        ("path: set\nval: images/val\nnames: {1: cat, 2: dog}\n", r"number the classes from 0. Received: \[1, 2\]"),
        ("path: set\nval: images/val\nnames: [cat, dog]\nnc: 3\n", "`nc:` in .*`names:`, 2. Received: 3"),
        (
            "path: set\nval: images/val\nnames: [cat]\n",
            "class from 0 to 0, as data.yaml has 1 .*0.txt, line 1. Rec.*: 1",
        ),
        ("path: set\nval: images/val/1.png\nnames: [cat]\n", "1 images without a label; .*labels/val/1.txt was tried"),
        ("- a\n", "to hold `path`, `val` and `names`. Received: list"),
        ("a: [\n", "which is no YAML"),
        ("path: set\nval: images/val/2.png\nnames: [cat]\n", "2.png, which does not exist"),
        ("path: set\nval: empty.txt\nnames: [cat]\n", "empty.txt to list images"),
        ("path: set\nval: bad.txt\nnames: [cat]\n", "Received: nowhere.png, which does not exist"),
    ],
)
def test_what_is_wrong_is_named(data, text, message):
    write(data.parent / "set/empty.txt", "\n")
    write(data.parent / "set/bad.txt", "nowhere.png\n")
    with pytest.raises(InputError, match=message):
        read_dataset(write(data, text))


def test_no_file_and_no_split(data):
    with pytest.raises(InputError, match="data.yaml. Received: nowhere.yaml"):
        read_dataset("nowhere.yaml")
    with pytest.raises(InputError, match="--split to be one of train, val, test. Received: 'vall'"):
        read_dataset(data, "vall")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.5", "`class centre_x centre_y width height` in .*0.txt, line 2. Received: '0 0.5 0.5 0.5'"),
        ("0 0.5 0.5 0.5 0.5 0.9", "Expected `class"),
        ("cat 0.5 0.5 0.5 0.5", "Expected `class"),
        ("2 0.5 0.5 0.5 0.5", "class from 0 to 1, .* Received: 2"),
        ("-1 0.5 0.5 0.5 0.5", "class from 0 to 1, .* Received: -1"),
        ("0.5 0.5 0.5 0.5 0.5", "class from 0 to 1, .* Received: 0.5"),
        ("nan 0.5 0.5 0.5 0.5", "Expected"),
        ("0 320 0.5 0.5 0.5", "coordinates from 0 to 1, .* Received: '0 320 0.5 0.5 0.5'"),
        ("0 nan 0.5 0.5 0.5", "coordinates from 0 to 1"),
        ("0 0.5 0.5 -0.005 0.5", "coordinates from 0 to 1"),
    ],
)
def test_lines_that_are_no_labels(data, line, message):
    write(data.parent / "set/labels/val/0.txt", f"0 0.5 0.5 1 1\n{line}\n")
    with pytest.raises(InputError, match=message):
        read_dataset(data)


def test_images_beside_their_labels():
    from keras_actnas.integrations.detection.labels import label_path

    assert label_path(Path("photos/a.b.jpg")) == Path("photos/a.b.txt")
    assert label_path(Path("images/images/a.jpg")) == Path("images/labels/a.txt")
