"""Batches of photographs: which files, which crops, which values."""

import numpy as np
import pytest
from PIL import Image

from keras_actnas.core import InputError
from keras_actnas.search import image_batch
from keras_actnas.search.images import _SAMPLES, SUFFIXES, sample_photographs


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for number, suffix in enumerate((".png", ".jpg", ".bmp")):
        pixels = rng.integers(0, 256, (40 + 8 * number, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"photo{number}{suffix}")
    (tmp_path / "notes.txt").write_text("not an image", encoding="utf-8")
    return tmp_path


def distinct(batch):
    return len({image.tobytes() for image in batch})


def test_a_folder_of_three_makes_a_batch_of_ten_different_crops(folder):
    batch = image_batch(folder, 10, (16, 24, 3))
    assert batch.shape == (10, 16, 24, 3)
    assert batch.dtype == np.float32
    assert batch.flags["C_CONTIGUOUS"]
    assert 0 <= batch.min() < 0.2 and 0.8 < batch.max() <= 1
    assert distinct(batch) == 10


def test_the_seed_decides(folder):
    np.testing.assert_array_equal(image_batch(folder, 5, (16, 16, 3), 1), image_batch(folder, 5, (16, 16, 3), 1))
    assert not np.array_equal(image_batch(folder, 5, (16, 16, 3), 1), image_batch(folder, 5, (16, 16, 3), 2))
    assert image_batch(str(folder), 5, (16, 16, 3), 1).shape == (5, 16, 16, 3)


def test_the_order_of_files_on_the_disk_does_not_matter(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for path in sorted(folder.iterdir(), reverse=True):
        (other / path.name).write_bytes(path.read_bytes())
    np.testing.assert_array_equal(image_batch(folder, 4, (16, 16, 3)), image_batch(other, 4, (16, 16, 3)))


def test_one_photo_gives_different_crops(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    assert distinct(image_batch(tmp_path, 16, (32, 32, 3))) == 16


def test_a_copy_of_a_photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("one.png", "two.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    with pytest.raises(InputError, match=r"Expected different images. Received: .*two.png, a copy of one.png"):
        image_batch(tmp_path, 16, (32, 32, 3))


def test_proportions_are_kept(tmp_path):
    """A crop is never squeezed: a square crop of a wide ramp spans a quarter to a half of it."""
    ramp = np.broadcast_to(np.linspace(0, 255, 128, dtype=np.uint8)[None, :, None], (64, 128, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "ramp.png")
    batch = image_batch(tmp_path, 32, (32, 32, 3))
    spans = np.abs(batch[:, 0, -1, 0] - batch[:, 0, 0, 0])
    assert 0.2 < spans.min() < 0.35
    assert 0.4 < spans.max() <= 0.51
    directions = np.sign(batch[:, 0, -1, 0] - batch[:, 0, 0, 0])
    assert set(directions) == {-1.0, 1.0}  # Some are mirrored.


def test_grey_images_for_a_model_of_one_channel(folder):
    batch = image_batch(folder, 4, (16, 16, 1))
    assert batch.shape == (4, 16, 16, 1)
    assert distinct(batch) == 4


def test_grey_and_transparent_files_become_colour(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(rng.integers(0, 256, (32, 32, 4), dtype=np.uint8)).save(tmp_path / "clear.png")
    Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).convert("P").save(tmp_path / "palette.png")
    assert image_batch(tmp_path, 6, (16, 16, 3)).shape == (6, 16, 16, 3)


def test_pixel_max(folder):
    small, large = image_batch(folder, 3, (16, 16, 3)), image_batch(folder, 3, (16, 16, 3), pixel_max=255)
    np.testing.assert_allclose(large, small * 255, rtol=1e-5)
    np.testing.assert_array_equal(large, np.round(large))


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_pixel_max_that_cannot_be(folder, value):
    with pytest.raises(InputError, match="pixel_max above 0"):
        image_batch(folder, 3, (16, 16, 3), pixel_max=value)


def test_the_samples_are_there():
    assert [path.name for path in sample_photographs()] == list(_SAMPLES)
    assert all(path.suffix in SUFFIXES for path in sample_photographs())
    batch = image_batch(None, 16, (48, 64, 3))
    assert distinct(batch) == 16
    assert 0.1 < batch.mean() < 0.9
    assert batch.std(axis=(1, 2, 3)).min() > 0.02


def test_photos_smaller_than_the_crop_are_enlarged(tmp_path):
    Image.new("RGB", (3, 2), (255, 0, 0)).save(tmp_path / "tiny.png")
    batch = image_batch(tmp_path, 2, (32, 32, 3))
    np.testing.assert_allclose(batch[0, 5, 5], [1, 0, 0])


@pytest.mark.parametrize("shape", [(None, None, 3), (32, 32, 4), (10,), (32, 32)])
def test_shapes_that_are_no_image(folder, shape):
    with pytest.raises(InputError, match="image of fixed size.*Received: one with input shape"):
        image_batch(folder, 2, shape)


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="which is no folder"):
        image_batch(tmp_path / "none", 2, (8, 8, 3))
    with pytest.raises(InputError, match=r"Expected images \(.jpg, .*a folder without any"):
        image_batch(tmp_path, 2, (8, 8, 3))
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="which is no folder"):
        image_batch(tmp_path / "file", 2, (8, 8, 3))


def whole_png():
    import io

    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"this is no image", whole_png()[:300], b"\xff\xd8\xff\xe0 no more", whole_png()[:-200] + b"x" * 150],
    ids=["empty", "text", "cut png", "cut jpeg", "scrambled"],
)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_broken_file_is_named(folder, content, suffix):
    for path in folder.iterdir():
        path.unlink()
    broken = folder / f"broken{suffix}"
    broken.write_bytes(content)
    with pytest.raises(InputError, match=f"broken{suffix}, broken or of another kind .* Remove it"):
        image_batch(folder, 2, (8, 8, 3))


def test_a_picture_too_large_to_open_is_named(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match=r"photo\d\.\w+, broken or of another kind .*Remove it"):
        image_batch(folder, 2, (8, 8, 3))
