"""Heat maps are drawn for tables of any size and state."""

import sys

import numpy as np
import pytest
from PIL import Image

from keras_actnas.core import Assignment, Estimate, MetricTable, MissingDependencyError
from keras_actnas.report import save_heatmap

NAMES = ("silu", "relu", "hard_swish", "relu6", "leaky_relu")


def make_table(sites, delta=None, error=0.1, unit="ms", names=NAMES):
    reference = Assignment.uniform([f"model.{number}.cv1.act" for number in range(sites)], "silu")
    if delta is None:
        delta = np.random.default_rng(0).normal(size=(sites, len(names)))
        delta[:, 0] = 0.0
    delta = np.broadcast_to(np.asarray(delta, float), (sites, len(names))).copy()
    errors = np.full(delta.shape, error)
    return MetricTable("latency", unit, reference, names, Estimate(40.0, 0.1), delta, errors)


def drawn(table, tmp_path):
    save_heatmap(table, tmp_path / "table.png")
    with Image.open(tmp_path / "table.png") as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), np.int64)


@pytest.mark.parametrize("sites", [1, 2, 8, 69])
def test_size_grows_with_the_sites(tmp_path, sites):
    pixels = drawn(make_table(sites), tmp_path)
    assert pixels.shape[1] == int(150 * (2.5 + 0.9 * 5))
    assert pixels.shape[0] == pytest.approx(150 * (1.5 + 0.16 * sites), abs=1)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def orange_and_purple(pixels):
    red, green, blue = np.moveaxis(pixels, -1, 0)
    return np.sum((red > green + 60) & (green > blue + 40)), np.sum((blue > green + 40) & (red > green + 20))


def test_more_is_orange_and_less_is_purple(tmp_path):
    """Compared with the same table turned around: the colour bar has both colours in either."""
    delta = np.array([[0.0, 2.0, 2.0, 2.0, 2.0]])
    more = orange_and_purple(drawn(make_table(8, delta), tmp_path))
    less = orange_and_purple(drawn(make_table(8, -delta), tmp_path))
    assert more[0] > 5 * less[0]
    assert less[1] > 5 * more[1]


def test_unclear_cells_are_hatched(tmp_path):
    delta = np.array([[0.0, 1.0, 1.0, 1.0, 1.0]])
    clear = drawn(make_table(8, delta, error=0.4), tmp_path)
    unclear = drawn(make_table(8, delta, error=0.6), tmp_path)
    assert np.mean(np.any(clear != unclear, axis=-1)) > 0.01


@pytest.mark.parametrize("delta", [0.0, np.nan], ids=["all zero", "nothing measured"])
def test_tables_without_differences(tmp_path, delta):
    drawn(make_table(5, delta), tmp_path)


def test_cells_that_were_not_measured(tmp_path):
    delta = np.array([[0.0, np.nan, 1.0, np.nan, -1.0]])
    pixels = drawn(make_table(6, delta, error=np.nan), tmp_path)
    grey = np.all(np.abs(pixels - round(0.85 * 255)) <= 1, axis=-1)
    assert grey.mean() > 0.05
    assert drawn(make_table(6, np.nan_to_num(delta), error=np.nan), tmp_path).shape == pixels.shape


def test_one_activation_and_no_unit(tmp_path):
    drawn(make_table(3, [[0.0]], unit="", names=("silu",)), tmp_path)


def test_matplotlib_is_optional(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "keras-actnas\[report\]"'):
        save_heatmap(make_table(2), tmp_path / "table.png")
    assert list(tmp_path.iterdir()) == []
