"""The fine-tuned score of a detector: what it depends on, what it learns, bad input, one whole run."""

import json
import re

import keras
import numpy as np
import pytest
import torch
import yaml

from keras_actnas import cli
from keras_actnas.core import InputError
from keras_actnas.integrations import from_ultralytics
from keras_actnas.integrations.detection import short_training
from keras_actnas.integrations.detection.batches import DetectionBatches
from keras_actnas.integrations.detection.fine_tuned import DetectorFineTuned
from keras_actnas.integrations.exchange.origin import description_of
from keras_actnas.integrations.training_inputs import check_data
from keras_actnas.search import SearchSettings
from keras_actnas.search.detection_recipe import DetectionRecipe, is_detection_data
from keras_actnas.search.preparation import make_proxies
from keras_actnas.search.proxies.registry import make_proxy
from keras_actnas.search.switchable import switchable_sites

SHAPE = (64, 64, 3)


@pytest.fixture(scope="module")
def model(weights):
    """A narrow YOLOv5n for two classes."""
    return from_ultralytics(weights, SHAPE)


@pytest.fixture(scope="module")
def proxy(model, data):
    return DetectorFineTuned(model, DetectionRecipe(data, steps=2))


@pytest.fixture(scope="module")
def other(proxy):
    return dict.fromkeys(proxy.reference, "relu")


def test_a_score_depends_on_the_assignment_and_on_nothing_before_it(proxy, model, other):
    before = [weight.copy() for weight in model.get_weights()]
    own, changed = proxy.score({}), proxy.score(other)
    assert proxy.score({}) == own
    assert proxy.score(dict(proxy.reference)) == own
    assert abs(changed - own) > 0.01
    one = {next(iter(proxy.reference)): "hard_swish"}
    assert proxy.score(one) not in (own, changed)
    assert proxy.score(other) == changed
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_seeds_are_other_weights(proxy, other):
    state = torch.random.get_rng_state()
    first = proxy.score(other, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert proxy.score(other, seed=1) == first
    assert first not in (proxy.score(other, seed=2), proxy.score(other))


def test_training_lowers_the_loss(model, data):
    short, long = (DetectorFineTuned(model, DetectionRecipe(data, steps, 0.01)).score({}) for steps in (2, 24))
    assert long < short - 2


def test_what_it_says_of_itself(proxy, model, data):
    assert proxy.reference == switchable_sites(model)
    assert list(proxy.reference) == list(switchable_sites(model))
    assert (proxy.metric, proxy.unit, proxy.higher_is_better) == ("fine_tuned", "loss", False)
    json.dumps(proxy.conditions)
    assert proxy.conditions["optimizer"]["learning_rate"] == 0.001667  # 0.002 * 5 / (4 + 2), as Ultralytics has it.
    given = make_proxy("fine_tuned", model, DetectionRecipe(data, 2, 0.01), ("relu",))
    assert isinstance(given, DetectorFineTuned)
    assert given.conditions["optimizer"]["learning_rate"] == 0.01
    assert given.score({}) != proxy.score({})
    assert {**given.conditions, "optimizer": 0} == {**proxy.conditions, "optimizer": 0}


def test_the_network_is_told_apart_by_what_it_was_made_of(weights):
    assert description_of(from_ultralytics(weights, (32, 64, 3)))["scales"]["n"][1] == 0.0625
    inputs = keras.Input(SHAPE)
    assert description_of(keras.Model(inputs, inputs, name="yolov5n")) == "yolov5n.yaml"  # What `YOLO` calls it.
    with pytest.raises(InputError, match="Expected a network of Ultralytics: --model=best.pt.*Received: 'mine'"):
        description_of(keras.Model(inputs, inputs, name="mine"))


def test_batches_are_the_images_of_the_data_set(data):
    content = check_data(data)
    images = DetectionBatches(content, "train", (64, 64))
    assert (len(images), images.batch_size) == (8, 8)
    (drawn,) = images.held_out()
    path = sorted((data.parent / "images/train").iterdir())[0]
    rows = np.loadtxt(data.parent / "labels/train" / f"{path.stem}.txt")
    first = drawn["batch_idx"] == 0
    np.testing.assert_allclose(drawn["cls"][first].numpy()[:, 0], rows[:, 0])
    np.testing.assert_allclose(drawn["bboxes"][first].numpy(), rows[:, 1:], atol=1e-4)
    for (centre_x, centre_y), kind in zip(rows[-1:, 1:3], rows[-1:, 0], strict=True):  # The last one is in front.
        red, _, blue = drawn["img"][0, :, int(centre_y * 64), int(centre_x * 64)].tolist()
        assert (red > blue) == (kind == 0)


def test_mirrored_images_have_mirrored_boxes(data):
    images = DetectionBatches(check_data(data), "train", (32, 96))
    (plain,) = images.held_out()
    batch = next(images.endless(np.random.default_rng(3)))
    assert batch["img"].shape == (8, 3, 32, 96)
    mirrored = 0
    for number, image in enumerate(batch["img"]):
        alike = [torch.equal(image, one) for one in plain["img"]]
        flipped = [torch.equal(image, one.flip(2)) for one in plain["img"]]
        row = (alike if any(alike) else flipped).index(True)
        boxes, own = plain["bboxes"][plain["batch_idx"] == row].clone(), batch["bboxes"][batch["batch_idx"] == number]
        if not any(alike):
            mirrored += 1
            boxes[:, 0] = 1 - boxes[:, 0]
        torch.testing.assert_close(own, boxes)
    assert 0 < mirrored < 8
    again = next(images.endless(np.random.default_rng(3)))
    assert all(torch.equal(batch[name], again[name]) for name in batch)


def test_digests_follow_labels_and_pixels(data):
    content = check_data(data)
    train, asked = (DetectionBatches(content, split, (64, 64)) for split in ("train", "val"))
    assert train.labels_digest() != asked.labels_digest()
    assert train.held_out_digest() == DetectionBatches(content, "train", (64, 64)).held_out_digest()
    assert train.held_out_digest() != DetectionBatches(content, "train", (32, 32)).held_out_digest()


def test_learning_rates_rise_and_fall():
    rates = short_training.learning_rates(0.1, 100)
    assert rates.argmax() == 4
    assert rates[0] == pytest.approx(0.02)
    assert rates[-1] < 1e-4
    assert short_training.learning_rates(0.1, 1) == pytest.approx([0.1])


def test_batch_norm_gets_the_statistics_of_the_images(proxy, data):
    network = proxy._start({}, None)
    batches = DetectionBatches(check_data(data), "train", (64, 64))
    (images,) = batches.held_out()
    seen = []
    network.model[0].conv.register_forward_hook(lambda module, inputs, output: seen.append(output))
    short_training.settle(network, batches.held_out())
    torch.testing.assert_close(network.model[0].bn.running_mean, seen[0].mean(dim=(0, 2, 3)))
    assert short_training.held_out_loss(network, [images]) > 0


def test_a_loss_that_is_not_finite(model, data):
    broken = keras.models.clone_model(model)
    broken.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    broken.ultralytics_description = model.ultralytics_description
    with pytest.raises(InputError, match="Expected a training that converges. Received: a loss of nan in step 1;"):
        DetectorFineTuned(broken, DetectionRecipe(data, steps=1)).score({})


def test_what_cannot_be_trained(model, data, tmp_path):
    with pytest.raises(InputError, match="Expected --train_data=data.yaml of a data set. Received: .*nowhere.yaml"):
        DetectorFineTuned(model, DetectionRecipe(tmp_path / "nowhere.yaml", 1))
    three = tmp_path / "three.yaml"
    content = yaml.safe_load(data.read_text())
    three.write_text(yaml.safe_dump({**content, "names": ["a", "b", "c"]}))
    with pytest.raises(InputError, match="Expected a model for the 3 classes of .*three.yaml. Received: one for 2; "):
        DetectorFineTuned(model, DetectionRecipe(three, 1))
    with pytest.raises(InputError, match="batch_norm='batch'"):
        DetectorFineTuned(model, DetectionRecipe(data, 1), batch_norm="inference")
    with pytest.raises(InputError):
        DetectorFineTuned(model, DetectionRecipe(data, 1), ("nonsense",))


def test_settings(model, data):
    settings = SearchSettings(train_data=str(data), train_steps=1, activations=("relu",))
    assert settings.proxy == "fine_tuned"
    (made,) = make_proxies(model, settings)
    assert isinstance(made, DetectorFineTuned)
    with pytest.raises(InputError, match="Expected --proxy=fine_tuned for a detection data set"):
        SearchSettings(train_data="data.yaml", proxy="one_shot")
    with pytest.raises(InputError, match="Expected no --loss for data.yaml"):
        SearchSettings(train_data="data.yaml", loss="mse")
    assert is_detection_data("a/b.yml")
    assert not is_detection_data("folder")


def test_the_score_command(weights, data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ("score", f"--model={weights}", f"--train_data={data}", "--train_steps=2", "--assignment=relu")
    assert cli.main([*command, "--image_size=32"]) == 0
    found = capsys.readouterr().out
    assert re.search(r"^own weights: fine_tuned [\d.]+, reference [\d.]+, difference [-+\d.e]+$", found, re.MULTILINE)
    small = DetectorFineTuned(from_ultralytics(weights, (32, 32, 3)), DetectionRecipe(data, 2))  # By --image_size.
    assert f"reference {small.score({}):.5g}," in found
    assert cli.main([*command, "--proxy=one_shot"]) == 2
    assert "Expected --proxy=fine_tuned" in capsys.readouterr().err
    assert cli.main(["score", "--model=mobilenet_v2:make", f"--train_data={data}", "--loss=mse"]) == 2
    assert "Expected no --loss" in capsys.readouterr().err


@pytest.mark.slow
def test_a_search(weights, data, tmp_path):
    command = (
        *("search", f"--model={weights}", "--image_size=32", f"--train_data={data}", "--train_steps=2", "--runs=1"),
        *("--trainings=6", "--networks=6", "--activations=relu", "--top_k=1", "--constraint=fine_tuned<=reference+50"),
    )
    out = tmp_path / "run"
    assert cli.main([*command, f"--out={out}"]) == 0
    journal = (out / "journal.jsonl").read_text()
    assert {"fine_tuned", "latency"} <= set(re.findall(r'"metric":"(\w+)"', journal))
    assert json.loads((out / "tables" / "fine_tuned.json").read_text())["unit"] == "loss"
    assert (out / "best.json").is_file()
    assert cli.main([*command, f"--out={out}"]) == 0
    assert (out / "journal.jsonl").read_text().count('"fine_tuned"') == journal.count('"fine_tuned"')
