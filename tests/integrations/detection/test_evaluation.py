"""Average precision of cases that can be worked out by hand."""

import numpy as np
import pytest

from keras_actnas.integrations import Detections, read_dataset
from keras_actnas.integrations.detection.evaluation import average_precision

NAMES = ("cat", "dog", "owl")


def things(*rows):
    """Detections from rows of left, top, right, bottom, score, class."""
    table = np.asarray(rows, np.float64).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(int))


CAT, DOG = (0, 0, 10, 10, 1, 0), (20, 20, 40, 40, 1, 1)


def test_all_found():
    metrics = average_precision([things(CAT, DOG), things(CAT)], [things(CAT, DOG), things(CAT)], NAMES)
    assert metrics.map50 == pytest.approx(1) and metrics.map50_95 == pytest.approx(1)
    assert metrics.objects.tolist() == [2, 1, 0]
    assert np.isnan(metrics.ap50[2])  # No image shows one: it has no part in the mean.
    assert metrics.images == 2


def test_a_box_counts_as_often_as_it_overlaps_enough():
    """An overlap of 0.72 is enough for the five thresholds up to 0.7."""
    found = (0, 0, 10, 7.2, 0.9, 0)
    metrics = average_precision([things(CAT)], [things(found)], NAMES)
    assert metrics.map50 == pytest.approx(1)
    assert metrics.map50_95 == pytest.approx(0.5)


def test_half_found():
    """One of two found: precision 1 up to a recall of a half, 51 of the 101 points."""
    metrics = average_precision([things(CAT), things(CAT)], [things(CAT), things()], NAMES)
    assert metrics.map50 == pytest.approx(51 / 101)


def test_a_surer_mistake_halves_precision():
    wrong = (50, 50, 60, 60, 0.9, 0)
    right = (*CAT[:4], 0.5, 0)
    assert average_precision([things(CAT)], [things(wrong, right)], NAMES).map50 == pytest.approx(0.5)
    assert average_precision([things(CAT)], [things(wrong, right)], NAMES, max_detections=1).map50 == 0


def test_another_class_is_not_found():
    metrics = average_precision([things(CAT)], [things((*CAT[:5], 1))], NAMES)
    assert metrics.map50 == 0 and np.isnan(metrics.ap50[1])


def test_nothing_found_and_nothing_there(capsys):
    assert average_precision([things(CAT)], [things()], NAMES).map50 == 0
    assert np.isnan(average_precision([things()], [things(CAT)], NAMES).map50)
    average_precision([things(CAT)], [things(CAT)], NAMES)
    assert capsys.readouterr().out == ""


def test_how_it_is_shown():
    metrics = average_precision([things(CAT, DOG)], [things(CAT)], NAMES)
    assert str(metrics).splitlines() == [
        "class  objects   mAP50  mAP50-95",
        "all        2  0.5000    0.5000",
        "cat        1  1.0000    1.0000",
        "dog        1  0.0000    0.0000",
    ]
    assert metrics.to_json()["classes"]["cat"] == pytest.approx({"objects": 1, "ap50": 1, "ap50_95": 1})
    assert "owl" not in metrics.to_json()["classes"]


def test_classes_of_another_count_are_refused_before_any_image_is_read(small, tmp_path):
    from keras_actnas.core import InputError
    from keras_actnas.integrations import evaluate_detection

    (tmp_path / "0.txt").write_text("0 0.5 0.5 1 1\n")
    (tmp_path / "0.png").write_text("no image")
    (tmp_path / "data.yaml").write_text("val: 0.png\nnames: [cat, dog]\n")
    with pytest.raises(InputError, match="names for the 3 classes that the model 'small'.* Received: 2 names"):
        evaluate_detection(small, read_dataset(tmp_path / "data.yaml"))
