"""What is drawn on an image, and which files hold one."""

import numpy as np
import pytest
from PIL import Image

from keras_actnas.core import InputError
from keras_actnas.integrations import Detections, draw_detections, read_photograph
from keras_actnas.integrations.detection.drawing import _COLOURS
from keras_actnas.integrations.detection.photographs import find_photographs


def detections(*boxes):
    return Detections(np.asarray(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.5), np.arange(len(boxes)))


def test_frames_and_labels():
    image = np.full((200, 300, 3), 99, np.uint8)
    picture = np.asarray(draw_detections(image, detections((100, 80, 200, 150), (10, 170, 60, 199)), ["cat", "dog"]))
    assert (image == 99).all()
    for index, (x, y) in enumerate([(150, 150), (35, 199)]):
        assert "#{:02x}{:02x}{:02x}".format(*picture[y, x]) == _COLOURS[index][0]
    assert (picture[100:140, 110:190] == 99).all()  # Inside the frame nothing is drawn,
    assert (picture[60:78, 100:130] != 99).any()  # above it the label,
    assert {tuple(pixel) for pixel in picture[60:78, 100:130].reshape(-1, 3).tolist()} >= {(0, 0, 0)}  # with ink.


def test_a_label_stays_inside_the_image():
    image = np.full((60, 200, 3), 99, np.uint8)
    picture = np.asarray(draw_detections(image, detections((180, 2, 199, 58)), ["a long name"]))
    columns = np.nonzero((picture[3:12] != 99).any(axis=(0, 2)))[0]
    assert columns.min() < 150 and columns.max() == 199


def test_more_classes_than_colours_and_no_detection():
    image = np.zeros((50, 50, 3), np.uint8)
    assert (np.asarray(draw_detections(image, detections(), [])) == 0).all()
    draw_detections(image, detections(*[(1, 1, 9, 9)] * 20), [str(number) for number in range(20)])


def test_photographs_are_turned_as_their_exif_says(tmp_path):
    image = Image.new("RGB", (30, 20), (255, 0, 0))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "ä.jpg", exif=exif, quality=100)
    pixels = read_photograph(tmp_path / "ä.jpg")
    assert pixels.shape == (30, 20, 3) and pixels.dtype == np.uint8
    assert pixels[..., 0].min() > 240 and pixels[..., 2].max() < 15


def test_photographs_of_other_modes(tmp_path):
    for mode in ("L", "RGBA", "P"):
        Image.new(mode, (30, 20)).save(tmp_path / f"{mode}.png")
        assert read_photograph(tmp_path / f"{mode}.png").shape == (20, 30, 3)


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_broken_photographs(tmp_path, content):
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(InputError, match="broken.png, broken or of another kind"):
        read_photograph(tmp_path / "broken.png")
    with pytest.raises(InputError, match="nowhere.png .No such file"):
        read_photograph("nowhere.png")


def test_finding_photographs(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("b.jpg", "folder/d.PNG", "folder/c.png", "folder/notes.txt"):
        (tmp_path / name).touch()
    found = find_photographs([tmp_path / "b.jpg", tmp_path / "folder"])
    assert [path.name for path in found] == ["b.jpg", "c.png", "d.PNG"]
    (tmp_path / "empty").mkdir()
    for place, message in (
        ("empty", "Received: a folder without any"),
        ("nowhere", "which does not exist"),
        ("folder/notes.txt", "another kind of file"),
    ):
        with pytest.raises(InputError, match=message):
            find_photographs([tmp_path / place])
