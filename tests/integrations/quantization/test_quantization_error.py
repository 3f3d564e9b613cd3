"""The int8 error of every site, compared with what NumPy makes of the same tensors."""

import csv

import keras
import numpy as np
import pytest

from keras_actnas.core import InputError
from keras_actnas.export import TFLiteNetwork, summarize_graph, to_named_tflite, to_tflite
from keras_actnas.export.schema import read_model
from keras_actnas.integrations import quantization_report
from keras_actnas.integrations.tensor_errors import QuantizationReport, TensorError
from keras_actnas.layers import activation_layer
from keras_actnas.surgery import current_assignment

L = keras.layers
SITES = ("relu", "silu", "hard_swish", "leaky_relu", "mish", "elu")


def network():
    """A site of each activation, a layer that is called twice, and one at the output."""
    x = inputs = keras.Input((12, 12, 3), name="image")
    for activation in SITES:
        x = activation_layer(activation, name=f"{activation}_site")(L.Conv2D(6, 3, padding="same")(x))
    shared = L.Activation("gelu", name="shared")
    x = shared(L.Conv2D(6, 3)(shared(L.Conv2D(6, 3)(x))))
    return keras.Model(inputs, L.Activation("silu", name="last")(L.Dense(4)(L.GlobalAveragePooling2D()(x))), name="net")


@pytest.fixture(scope="module")
def model(wake):
    return wake(network())


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(5).normal(0, 1, (24, 12, 12, 3)).astype("float32")


@pytest.fixture(scope="module")
def files(model, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    to_named_tflite(model, folder / "float32.tflite")
    to_named_tflite(model, folder / "int8.tflite", "int8", images[:16])
    return folder / "float32.tflite", folder / "int8.tflite"


@pytest.fixture(scope="module")
def report(model, files, images):
    return quantization_report(*files, images[16:], current_assignment(model))


def test_named_files_are_those_of_a_plain_conversion(model, files, images, tmp_path):
    for path, precision in zip(files, ("float32", "int8"), strict=True):
        to_tflite(model, tmp_path / "plain.tflite", precision, images[:16])
        assert summarize_graph(path)["operators"] == summarize_graph(tmp_path / "plain.tflite")["operators"]
    known = {f"{name}_site": name for name in SITES if name != "mish"}
    assert dict(TFLiteNetwork(files[0]).reference) == {**known, "shared": "gelu", "last": "silu"}


def test_every_site_has_an_error(report):
    found = {site.name: site for site in report.sites}
    assert list(found) == [f"{name}_site" for name in SITES] + ["shared", "shared:1", "last"]
    assert [found[f"{name}_site"].activation for name in SITES] == list(SITES)
    assert all(5 < site.sqnr < 60 for site in report.sites)
    assert {name for name, site in found.items() if site.own_sqnr is None} == {"mish_site", "elu_site"}
    assert report.images == 8 and [each.name for each in report.outputs] == ["output 0"]
    assert report.outputs[0].sqnr == pytest.approx(found["last"].sqnr, abs=1e-6)


def test_own_error_of_a_fused_relu_is_rounding(model, files, images, report):
    exact = np.asarray(keras.Model(model.input, model.get_layer("relu_site").output)(images[16:]))
    scale, _ = grid(files[1], "relu_site")
    rounded = np.clip(np.round(exact / scale), 0, 255) * scale
    expected = 10 * np.log10(np.square(exact).sum() / np.square(exact - rounded).sum())
    assert report.sites[0].own_sqnr == pytest.approx(expected, abs=0.1)
    assert report.sites[0].clipped == pytest.approx(np.mean(exact > 255.5 * scale), abs=1e-6)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_own_error_of_an_operator_is_more_than_rounding_its_output(model, files, images, report, number):
    """An activation that is an operator reads a rounded tensor, and then rounds once more."""
    site = report.sites[number]
    exact = np.asarray(keras.Model(model.input, model.get_layer(site.name).output)(images[16:]))
    scale, zero = grid(files[1], site.name)
    rounded = scale * (np.clip(np.round(exact / scale) + zero, -128, 127) - zero)
    rounding = 10 * np.log10(np.square(exact).sum() / np.square(exact - rounded).sum())
    assert site.sqnr < site.own_sqnr < rounding - 0.5


def grid(path, tensor):
    tensors = read_model(path).subgraphs[0].tensors
    quantization = next(each for each in tensors if each.name == tensor.encode()).quantization
    return float(quantization.scale[0]), int(quantization.zeroPoint[0])


def test_too_narrow_a_range_shows(model, files, images, tmp_path):
    to_named_tflite(model, tmp_path / "narrow.tflite", "int8", 0.2 * images[:16])
    narrow = quantization_report(files[0], tmp_path / "narrow.tflite", images[16:])
    wide = quantization_report(*files, images[16:])
    assert narrow.sites[0].clipped > 0.05 > wide.sites[0].clipped
    assert narrow.sites[0].own_sqnr < wide.sites[0].own_sqnr - 10
    assert narrow.outputs[0].sqnr < wide.outputs[0].sqnr


def test_a_file_compared_with_itself_has_no_error(files, images):
    same = quantization_report(files[0], files[0], images[:2])
    assert all(site.sqnr == float("inf") for site in (*same.sites, *same.outputs))


def test_table_and_csv(report, tmp_path):
    groups = {group.activation: group for group in report.by_activation()}
    assert groups["gelu"].sites == 2 and groups["gelu"].worst <= groups["gelu"].sqnr
    own = [group.own_sqnr for group in report.by_activation() if group.own_sqnr is not None]
    assert own == sorted(own)
    assert "int8 error on 8 images" in str(report) and "hard_swish" in str(report)
    report.save(tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["tensor"] for row in rows] == [site.name for site in report.sites] + ["output 0"]
    for row, site in zip(rows, report.sites, strict=False):
        assert float(row["sqnr_db"]) == pytest.approx(site.sqnr, rel=1e-4)
        assert float(row["relative_rms"]) == pytest.approx(10 ** (-site.sqnr / 20), rel=1e-4)


def test_medians():
    sites = tuple(TensorError(str(n), "relu", float(n), 2.0 * n) for n in (1, 2, 9))
    (group,) = QuantizationReport(sites, (), 1).by_activation()
    assert (group.sqnr, group.worst, group.own_sqnr) == (2.0, 1.0, 4.0)


def test_what_cannot_be_compared(model, files, images, tmp_path):
    to_tflite(model, tmp_path / "plain.tflite")
    with pytest.raises(InputError, match="plain.tflite, which lists none"):
        quantization_report(tmp_path / "plain.tflite", files[1], images)
    other = keras.Model(model.input, model.get_layer("silu_site").output)
    to_named_tflite(other, tmp_path / "other.tflite")
    with pytest.raises(InputError, match="files with different sites"):
        quantization_report(tmp_path / "other.tflite", files[1], images)
    with pytest.raises(InputError, match=r"inputs of shape \[\(12, 12, 3\)\]. Received: \[\(12, 12, 1\)\]"):
        quantization_report(*files, images[..., :1])
    with pytest.raises(InputError, match="at least one image"):
        quantization_report(*files, images[:0])
    with pytest.raises(InputError, match="none that is a site"):
        to_named_tflite(keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(2, 3)]), tmp_path / "none.tflite")
