"""Keras networks in Ultralytics: the same weights bit for bit, the activations as modules, and what is refused."""

import keras
import numpy as np
import pytest
import torch
import yaml
from ultralytics import YOLO

from keras_actnas import models
from keras_actnas.core import InputError
from keras_actnas.integrations import current_torch_assignment, from_ultralytics, to_ultralytics
from keras_actnas.surgery import current_assignment, replace_activations, to_acon

SMALL = (64, 96, 3)


def assert_same_tensors(first, second):
    first, second = first.state_dict(), second.state_dict()
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize("family", ["yolov8", "yolo11"])
def test_round_trip_of_published_networks(family, make_network, tmp_path):
    yolo = make_network(f"{family}n.yaml")
    again = to_ultralytics(from_ultralytics(yolo, SMALL), f"{family}n.yaml")
    assert_same_tensors(yolo.model, again.model)


@pytest.mark.parametrize("decode", [False, True])
def test_round_trip_through_a_yolo(tiny, tiny_yaml, decode):
    model, target = from_ultralytics(tiny(), SMALL, decode=decode), YOLO(tiny_yaml)
    assert to_ultralytics(model, target) is target
    assert_same_tensors(tiny().model, target.model)


def test_round_trip_through_a_checkpoint(tiny, tmp_path):
    yolo, path = tiny(), tmp_path / "best.pt"
    yolo.model.names = {0: "cat", 1: "dog"}
    torch.save({"model": yolo.model}, path)
    model = from_ultralytics(path, SMALL)
    kernel = model.get_layer("model-0-conv").kernel
    kernel.assign(kernel + 1)
    again = to_ultralytics(model, path)
    assert again.names == {0: "cat", 1: "dog"}
    np.testing.assert_array_equal(again.model.model[0].conv.weight.detach().numpy().transpose(2, 3, 1, 0), kernel)
    again.save(tmp_path / "edited.pt")
    assert YOLO(tmp_path / "edited.pt").model.yaml["nc"] == 2


def test_a_network_that_keras_made(difference):
    """Ultralytics computes what Keras does, with other activations, for the model's number of classes."""
    keras.utils.set_random_seed(0)
    model = models.YOLO("yolov5n", num_classes=3, input_shape=SMALL)
    swaps = {"model.0.act": "relu", "model.2.cv1.act": "prelu", "model.3.act": "leaky_relu(0.3)", "model.5.act": "none"}
    model = replace_activations(model, swaps)
    slopes = model.get_layer("model-2-cv1-act").alpha
    slopes.assign(np.linspace(0, 0.5, 16, dtype="float32").reshape(slopes.shape))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(layer.gamma * 2)
    yolo = to_ultralytics(model, "yolov5n.yaml")
    assert (yolo.model.model[-1].nc, len(yolo.names)) == (3, 3)
    images = np.random.default_rng(0).random((1, *SMALL), "float32")
    apart, size = difference(yolo.model.eval(), model, images)
    assert size > 1 and apart < 1e-3
    sites = current_torch_assignment(yolo)
    held = current_assignment(model, include=("identity",))
    assert dict(sites) == {site: held[site] for site in sites}
    assert (len(sites), sites["model.5.act"]) == (69, "identity")


def test_training_starts_from_the_weights(tiny, tiny_yaml, data, tmp_path, train_settings):
    yolo = to_ultralytics(from_ultralytics(tiny(), SMALL), tiny_yaml)
    yolo.train(data=str(data), epochs=1, lr0=0.0, warmup_epochs=0, optimizer="SGD", warmup_bias_lr=0.0,
               weight_decay=0.0, project=str(tmp_path), name="run", **train_settings)  # fmt: skip
    kept = yolo.model.model[0].conv.weight
    torch.testing.assert_close(kept.float(), tiny().model.model[0].conv.weight, rtol=0, atol=1e-3)


def test_another_number_of_classes(tiny, tmp_path):
    model = models.YOLO("yolov5n", num_classes=3, input_shape=SMALL)
    torch.save({"model": tiny().model}, tmp_path / "best.pt")
    for target in (tiny(), tmp_path / "best.pt"):
        with pytest.raises(InputError, match=r"Expected an Ultralytics network for 3 classes.*Received: one for 2"):
            to_ultralytics(model, target)


def test_another_network_is_left_as_it_is(tiny):
    yolo = tiny()
    model = models.YOLO("yolov8n", num_classes=2, input_shape=SMALL)
    with pytest.raises(InputError, match=r"missing: model\.10\.bn\.bias.*without a place: .*another shape: .*model\.0"):
        to_ultralytics(model, yolo)
    assert_same_tensors(yolo.model, tiny().model)


def test_tensors_that_are_missing(tiny):
    whole = from_ultralytics(tiny(), SMALL)
    part = keras.Model(whole.input, whole.get_layer("model-2-cv1-act").output)
    with pytest.raises(InputError, match=r"missing: model\.1[0-9]?.*and \d+ more"):
        to_ultralytics(part, tiny())


def test_layers_that_ultralytics_has_not(tiny):
    model = to_acon(from_ultralytics(tiny(), SMALL), sites=["model.0.act"])
    with pytest.raises(InputError, match=r"Expected (the|an activation).*model\.0\.act"):
        to_ultralytics(model, tiny())


def test_a_fused_target(tiny):
    yolo = tiny()
    yolo.model.fuse(verbose=False)
    with pytest.raises(InputError, match="one that was fused"):
        to_ultralytics(from_ultralytics(tiny(), SMALL), yolo)


def test_a_checkpoint_whose_description_runs_code(tiny, tmp_path):
    network, trace = tiny().model, tmp_path / "ran"
    model = from_ultralytics(network, SMALL)
    network.yaml = {**network.yaml, "activation": f"exec('open({str(trace)!r}, chr(119))') or nn.SiLU()"}
    torch.save({"model": network}, tmp_path / "best.pt")
    with pytest.raises(InputError, match=r"Expected an activation such as nn\.ReLU"):
        to_ultralytics(model, tmp_path / "best.pt")
    assert not trace.exists()


def test_a_bare_network_is_no_target(tiny):
    with pytest.raises(InputError, match="a network without its YOLO"):
        to_ultralytics(from_ultralytics(tiny(), SMALL), tiny().model)


def test_a_description_as_it_was_edited(tiny_yaml, tiny):
    content = {**yaml.safe_load(tiny_yaml.read_text()), "scale": "n", "nc": 80}
    assert to_ultralytics(from_ultralytics(tiny(), SMALL), content).model.model[-1].nc == 2
