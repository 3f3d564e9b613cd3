"""The example that detects items of Fashion-MNIST: its data set, and the whole story at a tiny size."""

import csv
import importlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.integrations import read_dataset

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "detect_items"
DATA = Path("/usr/share/datasets/fashion-mnist")
NEEDS_DATA = pytest.mark.skipif(not DATA.is_dir(), reason="needs the Debian package dataset-fashion-mnist")
SIZE = 96


@pytest.fixture(scope="module")
def example():
    """Imports a module of the example."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE.parent))
        patch.syspath_prepend(str(EXAMPLE))
        yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(EXAMPLE.parent)):
            del sys.modules[name]


@pytest.fixture(scope="module")
def items(example):
    """The module of the data set."""
    return example("items")


@pytest.fixture(scope="module")
def made(items, tmp_path_factory):
    """A small data set on the photographs that are shipped."""
    out = tmp_path_factory.mktemp("items") / "set"
    return items.make_dataset(out, str(DATA), None, {"train": 12, "val": 8}, SIZE, seed=1)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@NEEDS_DATA
def test_the_data_set_is_one_of_yolo_s_format(items, made):
    for split, count in (("train", 12), ("val", 8)):
        dataset = read_dataset(made, split)
        assert dataset.names == items.CLASSES
        assert len(dataset.truths) == count
        for path, truth in dataset.truths.items():
            assert cv2.imread(str(path)).shape == (SIZE, SIZE, 3)
            assert 1 <= len(truth.classes) <= 5
            corners = truth.corners(SIZE, SIZE)
            assert corners.min() > -1e-3 and corners.max() < SIZE + 1e-3
            sides = corners[:, 2:] - corners[:, :2]
            assert sides.max() <= 72 * SIZE / 160 * 1.4 and sides.max(axis=1).min() >= 24 * SIZE / 160 * 0.7


@NEEDS_DATA
def test_a_seed_makes_the_same_images_however_many_there_are(items, made, tmp_path):
    again = items.make_dataset(tmp_path / "again", str(DATA), None, {"train": 3, "val": 8}, SIZE, seed=1)
    other = items.make_dataset(tmp_path / "other", str(DATA), None, {"train": 3, "val": 8}, SIZE, seed=2)
    first, same, different = (files(path.parent) for path in (made, again, other))
    pictures = [name for name in same if name.suffix in (".jpg", ".txt")]
    assert len(pictures) == 22
    assert all(first[name] == same[name] for name in pictures)
    assert not any(first[name] == different[name] for name in pictures)


@NEEDS_DATA
def test_known_photographs_are_those_of_training_and_nothing_else_changes(items, made, tmp_path):
    known = items.make_dataset(
        tmp_path / "known", str(DATA), None, {"train": 3, "val": 3}, SIZE, seed=1, known_photos=True
    )
    photos = json.loads((known.parent / "items.json").read_text())["photos"]
    assert photos["val"] == photos["train"] == json.loads((made.parent / "items.json").read_text())["photos"]["train"]
    first, same = files(made.parent), files(known.parent)
    for name, content in same.items():
        if name.suffix == ".jpg":
            assert (first[name] == content) == ("train" in name.parts)
        elif name.suffix == ".txt":
            assert first[name] == content


@NEEDS_DATA
def test_what_is_there_is_taken_and_nothing_else(items, made, tmp_path):
    before = files(made.parent)
    settings = (str(DATA), None, {"train": 12, "val": 8}, SIZE)
    assert items.make_dataset(made.parent, *settings, seed=1) == made
    assert files(made.parent) == before
    with pytest.raises(InputError, match="to be of seed=2. Received: one of seed=1"):
        items.make_dataset(made.parent, *settings, seed=2)
    with pytest.raises(InputError, match="Expected a new folder"):
        items.make_dataset(tmp_path, *settings)


def item_of(rows):
    item = np.zeros((28, 28), np.uint8)
    item[4 : 4 + len(rows), 6 : 6 + len(rows[0])] = rows
    return item


def test_black_inside_of_an_item_belongs_to_it(example):
    ring = item_of([[200] * 9, *[[200, *[0] * 7, 200]] * 5, [200] * 9])
    mask = example("pixels").cut_out(ring)
    assert mask[4:11, 6:15].all() and mask.sum() == 63
    ring[4, 10] = 0  # An opening.
    assert example("pixels").cut_out(ring).sum() == 63 - 36


@pytest.mark.parametrize("brightness", [30, 255])
def test_an_item_is_placed_in_its_box(items, brightness):
    """Its box is tight, the photograph is as it was outside of it, and a dark item can be seen."""
    part = (np.stack([item_of([[brightness] * 8] * 12)] * 10), np.arange(10))
    ground = np.full((200, 200, 3), 0, np.uint8)
    for seed in range(8):
        image, rows = items.make_image([ground], part, 160, np.random.default_rng(seed))
        inside = np.zeros((160, 160), bool)
        for _, (x, y, width, height) in rows:
            top, left, bottom, right = (
                int(one) for one in (y - height / 2, x - width / 2, y + height / 2, x + width / 2)
            )
            inside[top:bottom, left:right] = True
            bright = image[top:bottom, left:right].max(axis=-1) > 20
            assert bright.mean() > 0.3
            assert all(edge.any() for edge in (bright[0], bright[-1], bright[:, 0], bright[:, -1]))
        assert not image[~inside].any()


def test_items_are_as_large_as_they_are_asked_for(items):
    """A square turned by 25 degrees at most has a box that is 1.33 times as wide as its side."""
    part = (np.stack([item_of([[255] * 12] * 12)] * 10), np.arange(10))
    ground = np.zeros((100, 100, 3), np.uint8)
    for scales, size, smallest, largest in (((24, 72), 160, 24, 72), ((48, 48), 80, 24, 24), ((112, 112), 64, 44, 46)):
        sides = []
        for seed in range(8):
            _, rows = items.make_image([ground], part, size, np.random.default_rng(seed), scales)
            sides += [max(width, height) for _, (_, _, width, height) in rows]
        assert smallest - 1 <= min(sides) and max(sides) <= largest * 1.33 + 2


def test_boxes_share_little(items):
    part = (np.stack([item_of([[200] * 8] * 12)] * 10), np.arange(10))
    ground = np.zeros((200, 200, 3), np.uint8)
    counts = []
    for seed in range(20):
        _, rows = items.make_image([ground], part, 160, np.random.default_rng(seed))
        boxes = [np.array((y - h / 2, x - w / 2, y + h / 2, x + w / 2)) for _, (x, y, w, h) in rows]
        counts.append(len(boxes))
        for number, box in enumerate(boxes):
            for other in boxes[:number]:
                shared = np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None).prod()
                assert shared <= 0.15 * min((one[2:] - one[:2]).prod() for one in (box, other)) + 1e-9
    assert set(counts) == {1, 2, 3, 4, 5}


def test_no_photograph_is_in_both_splits(items):
    photographs = items.shipped_photographs()
    train, val = items.split_photographs(photographs)
    assert len(photographs) == len(train) + len(val) == 10
    assert [path.stem for path in val] == ["chelsea", "ihc", "rocket"]
    assert not set(train) & set(val)


def test_photographs_of_ones_own(items, tmp_path):
    for number, colour in enumerate(((255, 0, 0), (0, 255, 0))):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((40, 60, 3), colour, np.uint8))
    rng = np.random.default_rng(0)
    first, second = (items.read_photograph(path) for (path,) in items.split_photographs(sorted(tmp_path.iterdir())))
    assert items.crop(first, 32, rng).tolist() == np.full((32, 32, 3), (0, 0, 255)).tolist()
    assert items.crop(second, 32, rng).tolist() == np.full((32, 32, 3), (0, 255, 0)).tolist()


def refused(script, *arguments):
    command = [sys.executable, str(EXAMPLE / script), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def test_what_a_data_set_cannot_be_made_of(items, tmp_path):
    out = tmp_path / "out"
    assert "error: Expected --data to be a folder" in refused("items.py", "--data", tmp_path / "no", "--out", out)
    with pytest.raises(InputError, match="Expected an image .* or a folder"):
        items.make_dataset(out, str(DATA), str(tmp_path / "no"))
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match="a folder without any"):
        items.make_dataset(out, str(DATA), str(tmp_path / "photos"))
    cv2.imwrite(str(tmp_path / "photos" / "one.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(InputError, match="Expected two photographs at least"):
        items.make_dataset(out, str(DATA), str(tmp_path / "photos"))
    with pytest.raises(InputError, match="Expected images in each split"):
        items.make_dataset(out, str(DATA), None, {"train": 0, "val": 3})
    with pytest.raises(InputError, match="Expected a size of 32 pixels or a multiple"):
        items.make_dataset(out, str(DATA), None, size=100)
    with pytest.raises(InputError, match="Expected items from 8 to 112 pixels"):
        items.make_dataset(out, str(DATA), None, scales=(48, 160))
    assert not out.exists()


def test_the_table_is_of_means_and_deviations(example, tmp_path):
    table = example("table")
    runs = {"search": {"estimated": True}, "latency/host int8": {}, "latency/vela:ethos-u55-128": {}}
    for number, network in enumerate(table.NETWORKS):
        for seed in range(2):
            found = {"map50_95": 0.1 * number + 0.02 * seed, "map50": 0.5}
            runs[f"deploy/{seed}/{network.key}"] = {"float32": found, "int8": {**found, "map50": 0.4}}
    for number, name in enumerate(("silu", "relu", "proposal")):
        estimate = {"milliseconds": 2 - 0.5 * number, "ratio": 1 - 0.25 * number}
        runs["latency/vela:ethos-u55-128"][name] = estimate
        runs["latency/host int8"][name] = {**estimate, "low": estimate["ratio"] - 0.1, "high": estimate["ratio"] + 0.1}
    assignments = {"proposal": {"a": "relu", "b": "silu"}}
    text = table.save_table(runs, assignments, "vela:ethos-u55-128", 2, tmp_path)
    assert (tmp_path / "table.txt").read_text() == text + "\n"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    figures = ["0.210 +- 0.014", "0.210 +- 0.014", "0.500 +- 0.000", "0.400 +- 0.000"]
    assert ["ReLU, fine-tuned", *figures, "+0.100 +- 0.000"] in cells
    assert ["latency", "host int8", "vela:ethos-u55-128, estimated"] in cells
    assert ["SiLU", "2.000 ms", "2.000 ms"] in cells
    assert ["ReLU", "1.500 ms, 0.750 (0.650 to 0.850)", "1.500 ms, 0.750"] in cells
    assert "relu x 1" in text and "2 seeds" in text
    rows = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert len(rows) == 5 * 2 * 2
    assert rows[1] == {
        "network": "SiLU, as trained", "precision": "float32", "seed": "1", "map50_95": "0.02", "map50": "0.5"
    }  # fmt: skip
